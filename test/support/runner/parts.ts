/** Test files that share a process: the test of each, by the URL of the file. */
import type { Test } from "tap";

export const parts: Map<string, Test> = new Map<string, Test>();
