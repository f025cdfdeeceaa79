/** A backend below the level of HTTP: it keeps every octet that reaches it, and says what a test wants it to say. */
import type { Socket } from "node:net";

export interface BackendConnection {
  readonly socket: Socket;
  /** What came on it, in latin-1. */
  octets: string;
  /** The other side has ended or reset it. */
  ended: boolean;
}

const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

export class RecordingBackend {
  /** Those on which anything came, in that order: a probe that says nothing is none of them. */
  readonly connections: BackendConnection[] = [];
  /** What it says to a connection on which something came; undefined where it waits for more. */
  answer: (connection: BackendConnection) => string | undefined = answerWhole;

  /** Serves an accepted connection. */
  readonly accept = (socket: Socket): void => {
    const connection: BackendConnection = { socket, octets: "", ended: false };
    const ended = (): void => {
      connection.ended = true;
      socket.destroy();
    };
    socket.on("error", ended);
    socket.on("end", ended);
    socket.on("close", ended);
    socket.on("data", (chunk: Buffer) => {
      if (connection.octets === "") this.connections.push(connection);
      connection.octets += chunk.toString("latin1");
      const answer = this.answer(connection);
      if (answer !== undefined && !connection.ended)
        socket.write(answer, "latin1");
    });
  };

  /** Everything that came, without the trace context, which is another for each request. */
  get octets(): string {
    return this.connections
      .map(({ octets }) => octets.replaceAll(/traceparent: [^\r]*\r\n/g, ""))
      .join("");
  }

  /** Ends what is open, so that the next request comes on a connection of its own, and forgets it. */
  reset(): void {
    for (const { socket } of this.connections) socket.destroy();
    this.connections.length = 0;
    this.answer = answerWhole;
  }
}

/** Answers once what came looks like the end of a request without a length. */
function answerWhole({ octets }: BackendConnection): string | undefined {
  return octets.endsWith("\r\n\r\n") ? OK : undefined;
}
