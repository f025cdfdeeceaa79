/** Gives the connections of this process source addresses in turn, as sidecars of different hosts have them: the control plane bounds what comes from one source before it has proved who it is. */
import net from "node:net";

const SOURCES = 250;

/** For every connection from now on that names no source of its own, beginning with that one; the control plane has to be on loopback. */
export function connectFromManySources(first = 0): void {
  const { connect } = net;
  let next = first % SOURCES;
  // grpc-js connects by this function of the module, and gives it options.
  net.connect = ((options: net.NetConnectOpts, ...rest: unknown[]) => {
    next = (next % SOURCES) + 1;
    const given = { localAddress: `127.2.0.${next}`, ...options };
    return Reflect.apply(connect, net, [given, ...rest]) as net.Socket;
  }) as typeof net.connect;
}
