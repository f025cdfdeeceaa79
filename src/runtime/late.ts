/** What a process that serves loads of its own package: by then another version may have taken the package's place. */
import { messageOf, systemCode } from "../core/errors.ts";

/** Rejects with what a person can do; a later call loads it again. */
export async function late<T>(load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    throw new Error(
      `a part of this program cannot be loaded (${systemCode(cause) ?? messageOf(cause)}): if its package was replaced, start the process again`,
      { cause },
    );
  }
}
