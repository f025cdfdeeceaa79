/** For measurements: a disk that fails. A real one: a file system in a file, which the kernel makes read-only under the files that are open in it, as it does after an error of the device. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";

export interface FailingDisk {
  readonly directory: string;
  /** From now on it may only be read, until it is repaired. */
  fail(): void;
  /** As a person does it: nothing may be open in it. */
  repair(): void;
  unmount(): void;
}

/** A file system of `bytes`, which root alone may mount; undefined where that is not allowed. */
export function failingDisk(bytes: number): FailingDisk | undefined {
  if (process.geteuid?.() !== 0) return undefined;
  const root = mkdtempSync(join(tmpdir(), "wherry-disk-"));
  const [image, directory] = [join(root, "image"), join(root, "disk")];
  try {
    writeFileSync(image, "");
    truncateSync(image, bytes);
    // Without a journal, whose loss would end it for good.
    run("mkfs.ext4", "-q", "-F", "-O", "^has_journal", image);
    run("mkdir", directory);
    // Processes in namespaces of their own see what is mounted in it, and what is not any more: or they would keep the old one.
    run("mount", "--bind", root, root);
    run("mount", "--make-shared", root);
    mount(image, directory);
  } catch {
    // A container without the right to, or without loop devices.
    unmountAll(root);
    rmSync(root, { recursive: true });
    return undefined;
  }
  return {
    directory,
    fail: () =>
      writeFileSync(
        join("/sys/fs/ext4", deviceOf(directory), "trigger_fs_error"),
        "made by a measurement",
      ),
    repair() {
      run("umount", directory);
      check(image);
      mount(image, directory);
    },
    unmount() {
      unmountAll(root);
      rmSync(root, { recursive: true });
    },
  };
}

function mount(image: string, directory: string): void {
  run("mount", "-o", "loop,errors=remount-ro", image, directory);
}

/** What is open in it does not keep it. */
function unmountAll(root: string): void {
  try {
    run("umount", "--lazy", "--recursive", root);
  } catch {
    // Nothing is mounted.
  }
}

/** "loop0" */
function deviceOf(directory: string): string {
  return basename(run("findmnt", "-n", "-o", "SOURCE", directory).trim());
}

/** It ends with 1 where it has corrected something. */
function check(image: string): void {
  try {
    run("e2fsck", "-p", "-f", image);
  } catch (thrown) {
    if ((thrown as { readonly status?: number }).status !== 1) throw thrown;
  }
}

function run(command: string, ...args: readonly string[]): string {
  return execFileSync(command, args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
}
