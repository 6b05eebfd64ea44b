// @zitadel/client, as its users use it and read what it answers.
import { ConnectError } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { timestampDate } from "@zitadel/client";
import { createUserServiceClient } from "@zitadel/client/v2";
import { createClientTransport } from "@zitadel/client/web";
import { ErrorDetailSchema } from "@zitadel/proto/zitadel/message_pb.js";

// over is that client over the transports that a function makes, for the walk.
export function over(transport) {
  return {
    connect: (token) => createUserServiceClient(transport(token)),
    dateOf: timestampDate,
    read(error) {
      const connectError = ConnectError.from(error);
      const [detail] = connectError.findDetails(ErrorDetailSchema);
      return { code: connectError.code, id: detail?.id, message: connectError.rawMessage };
    },
  };
}

// grpcWeb is the one for browsers; Node can take it too.
export const grpcWeb = (baseUrl) =>
  over((token) => (token === undefined ? createGrpcWebTransport({ baseUrl }) : createClientTransport(token, { baseUrl })));
