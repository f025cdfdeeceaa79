/** The hostile application in HTTP/2: a stream at a time, it says the frames of that stream's case. */
import type { Socket } from "node:net";
import { AppServers } from "./app-servers.ts";
import { Flag, FrameType } from "../../../../src/wire/http2/frames/frames.ts";
import {
  RawPeer,
  settings,
  SETTINGS_ACK,
  windowUpdate,
} from "../../http2/raw-peer.ts";
import { CASE_FIELD } from "./recording-app.ts";
import type { AppUnderFuzz } from "../outcome.ts";
import { bytesOf, type FramedResponse } from "../responses/response-http2.ts";

export class HostileHttp2App implements AppUnderFuzz {
  readonly #responses: (index: number) => FramedResponse;
  readonly #servers = new AppServers();

  constructor(responses: (index: number) => FramedResponse) {
    this.#responses = responses;
  }

  take(): readonly never[] {
    return [];
  }

  listen(): Promise<number> {
    return this.#servers.listen((socket) => this.#serve(socket));
  }

  close(): void {
    this.#servers.close();
  }

  #serve(socket: Socket): void {
    const peer = new RawPeer(socket, true);
    // The table stays empty, so that no field block needs to be read in its turn.
    peer.send(
      settings([1, 0], [3, 1000]),
      SETTINGS_ACK,
      windowUpdate(0, 1 << 30),
    );
    // The peer's own listener came first and has cut the frames.
    socket.on("data", () => {
      const out: Buffer[] = [];
      for (const frame of peer.frames.splice(0)) {
        if (
          frame.type !== FrameType.HEADERS ||
          (frame.flags & Flag.END_HEADERS) === 0
        )
          continue;
        const prefix = `${CASE_FIELD}: #`;
        const field = peer
          .fields(frame)
          .find((each) => each.startsWith(prefix));
        if (field === undefined) continue;
        const index = Number(field.slice(prefix.length, prefix.length + 8));
        out.push(bytesOf(this.#responses(index), frame.id));
      }
      if (out.length > 0) peer.send(...out);
    });
  }
}
