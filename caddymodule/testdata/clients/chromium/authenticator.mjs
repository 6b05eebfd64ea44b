// An authenticator app: a camera that reads QR codes, and codes.
import assert from "node:assert/strict";
import jsQR from "jsqr";
import { PNG } from "pngjs";

import { codeAt, stepNow } from "../totp.mjs";

// read returns what the QR code says that an element shows on the screen.
export async function read(element) {
  const { data, width, height } = PNG.sync.read(await element.screenshot());
  const found = jsQR(new Uint8ClampedArray(data), width, height);
  assert.ok(found, `there is no QR code in ${width} by ${height} pixels`);
  return found.data;
}

export class Authenticator {
  #secret;
  #last = 0; // the step of the last code

  // The URI is that of a QR code.
  constructor(uri) {
    const { protocol, host, pathname, searchParams } = new URL(uri);
    assert.equal(protocol, "otpauth:");
    assert.equal(host, "totp");
    for (const [name, known] of [["algorithm", "SHA1"], ["digits", "6"], ["period", "30"]]) {
      assert.equal(searchParams.get(name) ?? known, known, name);
    }
    this.label = decodeURIComponent(pathname.slice(1));
    this.issuer = searchParams.get("issuer");
    this.#secret = searchParams.get("secret");
  }

  get secret() {
    return this.#secret;
  }

  // code is one that was not used yet, and that is good for half a minute at least:
  // that of now, then the one after it. For a third it takes time.
  code() {
    const now = stepNow();
    this.#last = Math.max(now, this.#last + 1);
    assert.ok(this.#last <= now + 1, "codes of the future");
    return codeAt(this.#secret, this.#last);
  }

  // used is the last code.
  used() {
    return codeAt(this.#secret, this.#last);
  }

  // wrong is a code that is not good at any time near.
  wrong() {
    const near = [-3, -2, -1, 0, 1, 2, 3].map((steps) => codeAt(this.#secret, stepNow() + steps));
    return ["000000", "111111", "222222", "333333", "444444", "555555", "666666", "777777"].find((code) => !near.includes(code));
  }
}
