// The life of a TOTP registration, as any client of the user service sees it,
// in Node or in a browser.

// The status codes of gRPC that are expected somewhere.
const status = {
  invalid_argument: 3,
  not_found: 5,
  already_exists: 6,
  permission_denied: 7,
  failed_precondition: 9,
  unauthenticated: 16,
};

// walk goes through all states, and throws at the first deviation.
//
//   connect(token)  a client of the service; without a token if there is none
//   read(error)     what an error says: { code, id, message }
//   dateOf(x)       a point in time, as the client has it, as a Date
//   codeOf(secret, steps)
//   token, userId   whose
//   passes          whether RPCs without a gate are tried, which go upstream
//   done(step)      is told of each step
export async function walk({ connect, read, dateOf, codeOf, token, userId, passes, done }) {
  const client = connect(token);

  const fails = async (step, call, code, id) => {
    let error;
    try {
      await call;
    } catch (e) {
      error = read(e);
    }
    check(step, "an error", error !== undefined);
    const got = `${error.code} ${error.id ?? "without id"}: ${error.message}`;
    check(step, `${code} (${status[code]}), not ${got}`, error.code === status[code]);
    check(step, `${id ?? "no id"}, not ${got}`, error.id === id);
    check(step, `a message that ends with the id, not ${got}`, id === undefined || error.message.endsWith(` (${id})`));
    done(step);
  };

  let sequence = 1;
  const written = (step, { details }) => {
    check(step, "details", details !== undefined);
    check(step, `a sequence from ${sequence} on, not ${details.sequence}`, Number(details.sequence) >= sequence);
    sequence = Number(details.sequence);
    check(step, "the date of the change", details.changeDate !== undefined);
    const age = Date.now() - dateOf(details.changeDate).getTime();
    check(step, `a date of the change that is now, not ${age} ms ago`, Math.abs(age) < 60_000);
    done(step);
  };

  const registered = (step, answer) => {
    const uri = new URL(answer.uri);
    const query = Object.fromEntries(uri.searchParams);
    check(step, `base32, not ${answer.secret}`, /^[A-Z2-7]{16,}$/.test(answer.secret));
    check(step, "the secret in the URI", query.secret === answer.secret);
    check(step, `a URI that apps read, not ${answer.uri}`,
      answer.uri.startsWith("otpauth://totp/") && query.algorithm === "SHA1" && query.digits === "6" && query.period === "30" && query.issuer);
    written(step, answer);
    return answer.secret;
  };

  const anonymous = connect(undefined);
  await fails("RegisterTOTP without a token", anonymous.registerTOTP({ userId }), "unauthenticated");
  await fails("VerifyTOTPRegistration without a token", anonymous.verifyTOTPRegistration({ userId, code: "000000" }), "unauthenticated");
  await fails("RemoveTOTP without a token", anonymous.removeTOTP({ userId }), "unauthenticated");
  await fails("RegisterTOTP with a wrong token", connect(`${token}x`).registerTOTP({ userId }), "unauthenticated", "AUTH-7fs1e");
  await fails("RegisterTOTP without a user", client.registerTOTP({}), "invalid_argument");
  await fails("VerifyTOTPRegistration without a code", client.verifyTOTPRegistration({ userId }), "invalid_argument");
  await fails("RegisterTOTP for another user", client.registerTOTP({ userId: "somebody-else" }), "permission_denied", "AUTH-AWfge");
  await fails("RemoveTOTP for another user", client.removeTOTP({ userId: "somebody-else" }), "permission_denied", "AUTH-AWfge");

  const nothing = "when nothing is registered";
  await fails(`VerifyTOTPRegistration ${nothing}`, client.verifyTOTPRegistration({ userId, code: "000000" }), "not_found", "COMMAND-3Mif9s");
  await fails(`RemoveTOTP ${nothing}`, client.removeTOTP({ userId }), "not_found", "COMMAND-Hd9sd");
  await fails(`an RPC behind a gate, ${nothing}`, client.addOTPEmail({ userId }), "unauthenticated");

  const replaced = registered("RegisterTOTP", await client.registerTOTP({ userId }));
  const secret = registered("RegisterTOTP when it is pending", await client.registerTOTP({ userId }));
  check("RegisterTOTP when it is pending", "a new secret", secret !== replaced);

  const right = await Promise.all([-1, 0, 1, 2].map((steps) => codeOf(secret, steps)));
  const [wrong, of] = [[await codeOf(replaced), "of the replaced secret"], ["000000", "made up"]].find(([code]) => !right.includes(code));
  await fails(`VerifyTOTPRegistration, wrong code (${of})`, client.verifyTOTPRegistration({ userId, code: wrong }), "invalid_argument", "EVENT-8isk2");
  await fails("VerifyTOTPRegistration, code too short", client.verifyTOTPRegistration({ userId, code: "123" }), "invalid_argument", "EVENT-8isk2");
  written("VerifyTOTPRegistration", await client.verifyTOTPRegistration({ userId, code: await codeOf(secret) }));

  const ready = "when it is verified";
  await fails(`RegisterTOTP ${ready}`, client.registerTOTP({ userId }), "already_exists", "COMMAND-do9se");
  await fails(`VerifyTOTPRegistration ${ready}`, client.verifyTOTPRegistration({ userId, code: await codeOf(secret) }), "failed_precondition", "COMMAND-qx4ls");

  const upstream = (step, { details }) => {
    check(step, "the answer from upstream", details?.resourceOwner === "upstream" && Number(details.sequence) === 42);
    done(step);
  };
  upstream(`an RPC behind a gate, ${ready}`, await client.addOTPEmail({ userId }));
  if (passes) {
    upstream("an RPC that is upstream's", await client.getUserByID({ userId }));
    upstream("the same without a token", await anonymous.getUserByID({ userId }));
    await fails("an error of upstream's", client.getUserByID({ userId: "somebody-else" }), "not_found");
  }

  written("RemoveTOTP", await client.removeTOTP({ userId }));
  const removed = "when it is removed";
  await fails(`RemoveTOTP ${removed}`, client.removeTOTP({ userId }), "not_found", "COMMAND-Hd9sd");
  await fails(`VerifyTOTPRegistration ${removed}`, client.verifyTOTPRegistration({ userId, code: await codeOf(secret) }), "not_found", "COMMAND-3Mif9s");
  await fails(`an RPC behind a gate, ${removed}`, client.addOTPEmail({ userId }), "unauthenticated");
}

function check(step, what, holds) {
  if (!holds) {
    throw new Error(`${step}: want ${what}`);
  }
}
