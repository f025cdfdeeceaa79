/** The incoming half of a connection, the same at both ends: what came and is not understood yet, and the loop that lets the state machine understand it. */
import type { Socket } from "node:net";
import { UNBOUNDED, type Buffers } from "../buffers.ts";
import { Input } from "./parse/input.ts";
import { Http1Fault } from "./fault.ts";

/** The state machine that what comes is for. */
export interface Interpreter {
  /** Understands the next part of the input. False where nothing can be done before something else happens. */
  step(): boolean;
  /** What came breaks the grammar or a limit. */
  faulted(fault: Http1Fault): void;
  /** The peer's half is closed, and all that came before has been looked at as far as it could be. */
  peerFinished(): void;
  /** There is use for more bytes than are at hand. */
  wantsMore(): boolean;
  destroy(): void;
}

export class Incoming {
  readonly input: Input = new Input();
  readonly #socket: Socket;
  readonly #interpreter: Interpreter;
  #running = false;
  #flowing = true;
  /** The peer has sent its FIN. */
  #finished = false;
  readonly #buffers: Buffers;
  /** What the input holds, as far as it has been counted. */
  #counted = 0;
  #waitsForRoom = false;

  constructor(
    socket: Socket,
    interpreter: Interpreter,
    buffers: Buffers = UNBOUNDED,
  ) {
    this.#socket = socket;
    this.#interpreter = interpreter;
    this.#buffers = buffers;
    socket.on("close", () => {
      this.input.clear();
      this.#count();
    });
  }

  push(chunk: Buffer): void {
    this.input.push(chunk);
    this.run();
  }

  finish(): void {
    this.#finished = true;
    this.run();
  }

  /** Goes on as far as what is at hand allows. Calls from within it return at once: the loop takes up what they changed. */
  run(): void {
    if (this.#running) return;
    this.#running = true;
    const interpreter = this.#interpreter;
    try {
      while (interpreter.step());
    } catch (fault) {
      if (!(fault instanceof Http1Fault)) {
        interpreter.destroy();
        throw fault;
      }
      interpreter.faulted(fault);
    } finally {
      this.#running = false;
    }
    if (this.#finished) interpreter.peerFinished();
    this.adjustFlow();
  }

  /** Lets the socket flow or stops it, as the state has it now. */
  adjustFlow(): void {
    const wanted = this.#interpreter.wantsMore() && this.#hasRoom();
    if (wanted === this.#flowing) return;
    this.#flowing = wanted;
    if (wanted) this.#socket.resume();
    else this.#socket.pause();
  }

  #count(): void {
    const { held } = this.input;
    if (held === this.#counted) return;
    this.#buffers.change(held - this.#counted);
    this.#counted = held;
  }

  /** Where the proxy holds as much as it may, a connection with some of it waiting here reads no more. */
  #hasRoom(): boolean {
    this.#count();
    if (this.#counted === 0 || !this.#buffers.crowded) return true;
    if (!this.#waitsForRoom) {
      this.#waitsForRoom = true;
      this.#buffers.whenRoom(() => {
        this.#waitsForRoom = false;
        this.adjustFlow();
      });
    }
    return false;
  }
}
