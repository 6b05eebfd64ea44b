// Walks through the TOTP registration with one of Zitadel's clients:
//
//   node clients.mjs CLIENT BASE_URL USER_ID TOKEN
//
// It prints each step; at the first deviation it says which, and exits with 1.
import { findTrailerError } from "@connectrpc/connect/protocol-grpc";
import { compressionGzip, createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { createConnectTransport as createFetchTransport } from "@connectrpc/connect-web";
import { NewAuthorizationBearerInterceptor } from "@zitadel/client";
import { createServerTransport } from "@zitadel/client/node";
import { createUserClient } from "@zitadel/node/dist/api/clients.js";
import { UserServiceDefinition } from "@zitadel/node/dist/api/generated/zitadel/user/v2/user_service.js";
import { ErrorDetail } from "@zitadel/node/dist/api/generated/zitadel/message.js";
import { createAccessTokenInterceptor } from "@zitadel/node/dist/api/interceptors.js";
import { createChannel, createClientFactory } from "nice-grpc";

import { codeOf } from "./totp.mjs";
import { walk } from "./walk.mjs";
import { grpcWeb, over } from "./zitadel.mjs";

const [name, baseUrl, userId, token] = process.argv.slice(2);

const bearer = (token) => (token === undefined ? [] : [NewAuthorizationBearerInterceptor(token)]);

const clients = {
  // @zitadel/client
  "grpc": () => over((token) => (token === undefined ? createGrpcTransport({ baseUrl }) : createServerTransport(token, { baseUrl }))),
  "grpc-web": () => grpcWeb(baseUrl),
  // The same with the transports of Connect, which it does not wrap.
  "connect-json": () => over((token) => createFetchTransport({ baseUrl, interceptors: bearer(token) })),
  "connect-proto": () => over((token) => createConnectTransport({
    baseUrl, interceptors: bearer(token), httpVersion: "2", useBinaryFormat: true,
    sendCompression: compressionGzip, compressMinBytes: 0,
  })),
  // @zitadel/node
  "node-v2beta": () => grpcJS((...interceptors) => createUserClient(baseUrl, ...interceptors)),
  "node-v2": () => grpcJS((...interceptors) =>
    interceptors.reduce((factory, i) => factory.use(i), createClientFactory()).create(UserServiceDefinition, createChannel(baseUrl))),
};

// grpcJS is @zitadel/node. Its errors have no details: who wants them looks in
// the trailers, others in the message.
function grpcJS(create) {
  const withDetails = async function* (call, options) {
    let trailers;
    try {
      return yield* call.next(call.request, { ...options, onTrailer: (t) => (trailers = t) });
    } catch (error) {
      const status = trailers?.get("grpc-status-details-bin");
      if (status) {
        const { details } = findTrailerError(new Headers({
          "grpc-status": String(error.code),
          "grpc-status-details-bin": Buffer.from(status).toString("base64"),
        }));
        const detail = details.find(({ type }) => type === "zitadel.v1.ErrorDetail");
        error.id = detail && ErrorDetail.decode(detail.value).id;
      }
      throw error;
    }
  };
  return {
    connect: (token) => create(withDetails, ...(token === undefined ? [] : [createAccessTokenInterceptor(token)])),
    dateOf: (date) => date,
    read: ({ code, id, details }) => ({ code, id, message: details }),
  };
}

try {
  await walk({ ...clients[name](), token, userId, codeOf, passes: true, done: console.log });
} catch (error) {
  console.error(`${name}: ${error.stack}`);
  process.exitCode = 1;
}
process.exit(); // channels have no end of their own
