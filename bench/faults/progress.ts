/** What is going on, on standard error: a line that changes on a terminal, and a line each elsewhere. */
import type { WriteStream } from "node:tty";
import type { Clock } from "../../src/core/clock.ts";

export interface Progress {
  /** What is done now. */
  show(text: string): void;
  /** It is over, with this result. */
  end(text: string | undefined): void;
  close(): void;
}

type Output = Pick<WriteStream, "write"> & {
  readonly isTTY?: boolean;
  readonly columns?: number;
};

/** Back to the first column, and the line is empty. */
const CLEAR = "\r\x1b[2K";

export function openProgress(output: Output, clock: Clock): Progress {
  const terminal = output.isTTY === true;
  let doing = "";
  let since = clock.now();
  const draw = (): void => {
    if (doing === "") return;
    const seconds = Math.round((clock.now() - since) / 1000);
    output.write(
      `${CLEAR}${`${doing}, ${seconds} s`.slice(0, (output.columns ?? 80) - 1)}`,
    );
  };
  const stop = terminal ? clock.every(1000, draw) : () => undefined;
  return {
    show(text) {
      doing = text;
      since = clock.now();
      if (terminal) draw();
      else output.write(`${text}\n`);
    },
    end(text) {
      doing = "";
      output.write(`${terminal ? CLEAR : ""}${text ?? ""}\n`);
    },
    close() {
      stop();
      if (terminal) output.write(CLEAR);
    },
  };
}
