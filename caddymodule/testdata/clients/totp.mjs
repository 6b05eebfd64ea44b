// TOTP (RFC 6238) with SHA-1, 6 digits and steps of 30 seconds.
import { createHmac } from "node:crypto";

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"; // RFC 4648, base32

function bytes(secret) {
  let bits = "";
  for (const c of secret) {
    bits += alphabet.indexOf(c).toString(2).padStart(5, "0");
  }
  return Buffer.from(bits.match(/[01]{8}/g).map((byte) => parseInt(byte, 2)));
}

// stepNow is the number of the step that it is now.
export const stepNow = () => Math.floor(Date.now() / 30_000);

// codeOf is the code of a secret, some steps from now.
export const codeOf = (secret, steps = 0) => codeAt(secret, stepNow() + steps);

// codeAt is the code of a secret in a step.
export function codeAt(secret, step) {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const hash = createHmac("sha1", bytes(secret)).update(counter).digest();
  const truncated = hash.readUInt32BE(hash[19] & 0xf) & 0x7fffffff;
  return String(truncated % 1_000_000).padStart(6, "0");
}
