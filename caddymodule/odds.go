package caddymodule

import (
	"fmt"
	"strings"

	"go.uber.org/zap"

	"github.com/caddy-otp/caddy-otp/internal/otp"
)

// tolerable is the chance of guessing one user's secrets that may be: one in this.
const tolerable = 100

// logOdds tells at load what the limits are worth against a guesser who has a token
// of a user with the most that the configuration allows, and warns if that is
// little.
func logOdds(logger *zap.Logger, config otp.Config, mails bool) {
	codes, pin := guessing(config, mails), config.GuessingPIN()
	either := codes.Total.Or(pin.Total)
	logger.Info("the odds of guessing, at worst: by whoever has the token of a user, who has every factor that may be and a PIN of four digits, and enters nothing right meanwhile",
		zap.Stringer("one_guess", codes.Once),
		zap.String("until_lock", odds(codes.UntilLock, codes.UntilLockTries)),
		zap.String("first_day", odds(codes.FirstDay, codes.FirstDayTries)),
		zap.String("later_day", odds(codes.LaterDay, codes.LaterDayTries)),
		zap.String("in_all", odds(codes.Total, codes.TotalTries)),
		zap.String("pin_first_day", odds(pin.FirstDay, pin.FirstDayTries)),
		zap.String("pin_in_all", odds(pin.Total, pin.TotalTries)),
		zap.Stringer("code_or_pin_in_all", either),
	)
	if either.Exceeds(tolerable) {
		logger.Warn(fmt.Sprintf("one-time passwords are too easily guessed: all guesses that the limits allow hit one of a user's with a chance of more than 1 in %d; %s", tolerable, remedy(config, mails)),
			zap.Stringer("code_or_pin_in_all", either))
	}
}

// guessing at the one-time passwords of a user who has the most that may be.
func guessing(config otp.Config, mails bool) otp.Guessing {
	most := config.Most()
	if !mails {
		delete(most, otp.Login)
	}
	return config.Guessing(most)
}

func odds(c otp.Chance, guesses int) string {
	switch {
	case c.Hits == 0:
		return c.String()
	case guesses == 1:
		return c.String() + " by 1 guess"
	}
	return fmt.Sprintf("%s by %d guesses", c, guesses)
}

// remedy names the options that are looser than by default: with the defaults all is
// well.
func remedy(config otp.Config, mails bool) string {
	var lower []string
	for _, option := range []struct {
		name         string
		value, usual int
	}{
		{"limits cap", config.Limits.Cap, defaultCap},
		{"totp devices", config.Devices, defaultDevices},
		{"totp skew", config.Skew, defaultSkew},
	} {
		if option.value > option.usual {
			lower = append(lower, fmt.Sprintf("`%s` (now %d, by default %d)", option.name, option.value, option.usual))
		}
	}
	text := "lower " + strings.Join(lower, " or ")
	if len(lower) == 0 {
		text = "lower `limits attempts`"
	}
	long := config
	long.Digits = 8
	if !guessing(long, mails).Total.Or(config.GuessingPIN().Total).Exceeds(tolerable) {
		text += fmt.Sprintf(", or raise `codes digits` (now %d)", config.Digits)
	}
	return text
}
