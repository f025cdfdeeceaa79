/**
 * Has the kernel end a connection whose peer is gone without a word: the host lost its power, or its packets are dropped. Node would keep
 * it, and all that waits on it, for a quarter of an hour.
 *
 * The caller's end finds it within seconds (`proxy/upstream/pool/link-watch.ts`). This is for the called end, and for a link that carries
 * nothing: there is a probe after 10 s without a byte, and the end once nothing has been acknowledged for 20 s (gRPC's; Linkerd has 30 s).
 * A peer whose sidecar takes nothing for so long, its window closed, is taken for gone as well.
 */
import type { Socket } from "node:net";
import { setSocketOption } from "../../runtime/socket-option.ts";

// linux/in.h, linux/tcp.h
const IPPROTO_TCP = 6;
const TCP_USER_TIMEOUT = 18;

/** Milliseconds. */
const PROBE_AFTER = 10_000;
export const UNACKNOWLEDGED = 20_000;

/** For a socket that is connected. Without TCP_USER_TIMEOUT (Linux), the probes alone end it, and only where nothing waits to be sent. */
export function endWhenPeerIsGone(socket: Socket): void {
  socket.setKeepAlive(true, PROBE_AFTER);
  setSocketOption(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, UNACKNOWLEDGED);
}
