/** In place of tap for a file that shares its process with others: what stands behind `?` is the URL of the file, and its own test is given. */
import type { Test } from "tap";
import { parts } from "./parts.ts";

const { search } = new URL(import.meta.url);
const own: Test | undefined = parts.get(decodeURIComponent(search.slice(1)));
// oxlint-disable-next-line import/no-default-export -- as tap has it
export default own;
