/** The imports of `src` as a graph: of types too, and those that are made late. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export const SRC: string = fileURLToPath(
  new URL("../../../src", import.meta.url),
);

export interface Import {
  readonly from: string;
  readonly to: string;
}

/** Files that hold code, below `src`. */
export function sourceFiles(): string[] {
  return readdirSync(SRC, { recursive: true, encoding: "utf8" })
    .filter((file) => /\.(?:ts|js)$/.test(file))
    .sort();
}

export function importsOf(file: string): Import[] {
  const text = readFileSync(join(SRC, file), "utf8");
  const found = text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g);
  return [...found].map(([, target = ""]) => ({
    from: file,
    to: relative(SRC, resolve(SRC, dirname(file), target)),
  }));
}

export type Graph = ReadonlyMap<string, readonly string[]>;

export function importGraph(): Graph {
  return new Map(
    sourceFiles().map((file) => [file, importsOf(file).map(({ to }) => to)]),
  );
}

/** Files that reach each other: each set is a circle or several that share files (Tarjan 1972). */
export function circles(graph: Graph): string[][] {
  const order = new Map<string, number>();
  const lowest = new Map<string, number>();
  const path: string[] = [];
  const found: string[][] = [];
  const low = (file: string): number => lowest.get(file) ?? 0;
  const visit = (file: string): void => {
    order.set(file, order.size);
    lowest.set(file, order.size - 1);
    path.push(file);
    const next = graph.get(file) ?? [];
    for (const to of next) {
      if (!order.has(to)) visit(to);
      if (path.includes(to)) lowest.set(file, Math.min(low(file), low(to)));
    }
    if (low(file) !== order.get(file)) return;
    const circle = path.splice(path.indexOf(file));
    if (circle.length > 1 || next.includes(file)) found.push(circle);
  };
  for (const file of graph.keys()) if (!order.has(file)) visit(file);
  return found;
}

/** An import or export of values in TypeScript: what is imported as a type is gone once it runs, and so is a late import here. */
const STATIC =
  /^(?:import|export)\s+(?!type\b)(?:([^;"]*?)\s*from\s+)?"([^"]+)"/gms;

/** The packages that are loaded with a file of `src`, each with the files through which it comes. */
export function packagesLoadedWith(file: string): Map<string, string[]> {
  const found = new Map<string, string[]>();
  const ways = [[file]];
  const seen = new Set([file]);
  for (const way of ways) {
    const from = way.at(-1) ?? "";
    const text = readFileSync(join(SRC, from), "utf8");
    for (const [, names = "", target = ""] of text.matchAll(STATIC)) {
      if (/^\{(?:\s*type\s+\w+,?)+\s*\}$/.test(names)) continue;
      if (!target.startsWith(".")) {
        if (!found.has(target)) found.set(target, way);
        continue;
      }
      const to = relative(SRC, resolve(SRC, dirname(from), target));
      if (seen.has(to)) continue;
      seen.add(to);
      ways.push([...way, to]);
    }
  }
  return found;
}
