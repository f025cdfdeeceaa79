/** A connector of grpc-js that ends with its client. Its own goes on: a client that is closed between two tries dials once more, and one that is closed in a handshake finishes it. */
import type { Socket } from "node:net";
import type { ChannelCredentials } from "@grpc/grpc-js";

export type SecureConnector = ReturnType<
  ChannelCredentials["_createSecureConnector"]
>;

const CLOSED = "the client is closed";

/** Has `change` look at each connector that the credentials make, which ends with its client besides. */
export function changeConnectors(
  credentials: ChannelCredentials,
  change: (connector: SecureConnector) => void,
): void {
  const makeConnector = credentials._createSecureConnector.bind(credentials);
  credentials._createSecureConnector = (...target) => {
    const connector = makeConnector(...target);
    change(connector);
    endWithClient(connector);
    return connector;
  };
}

/** Changes `connector`: once it is destroyed, it dials no more, and what is on its way is broken off. */
export function endWithClient(connector: SecureConnector): void {
  const connect = connector.connect.bind(connector);
  const waitForReady = connector.waitForReady.bind(connector);
  const destroy = connector.destroy.bind(connector);
  const onTheirWay = new Set<Socket>();
  let over = false;
  const guard = (): void => {
    if (over) throw new Error(CLOSED);
  };
  // It is asked before a connection is dialled.
  connector.waitForReady = async () => {
    guard();
    await waitForReady();
  };
  connector.connect = async (raw) => {
    guard();
    onTheirWay.add(raw);
    try {
      return await connect(raw);
    } finally {
      onTheirWay.delete(raw);
    }
  };
  connector.destroy = () => {
    over = true;
    for (const raw of onTheirWay) raw.destroy();
    destroy();
  };
}
