/** How long the functions of source files are. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseSync, Visitor, type Span } from "oxc-parser";

export interface FunctionLength {
  readonly file: string;
  /** Empty where it has none: an argument, say. */
  readonly name: string;
  readonly lines: number;
}

/** @param files paths below `folder` */
export function functionsIn(
  folder: string,
  files: readonly string[],
): FunctionLength[] {
  return files.flatMap((file) => functionsOf(folder, file));
}

function functionsOf(folder: string, file: string): FunctionLength[] {
  const text = readFileSync(join(folder, file), "utf8");
  const found: FunctionLength[] = [];
  /** What gives a function its name, with where the name or the function begins. */
  const named = new Map<
    Span,
    { readonly name: string; readonly start: number }
  >();
  const name = (of: Span | null, by: Span, start = of?.start): void => {
    if (of !== null && start !== undefined)
      named.set(of, { name: text.slice(by.start, by.end), start });
  };
  const add = (node: Span & { readonly id?: Span | null }): void => {
    if (node.id) name(node, node.id);
    const { name: called, start } = named.get(node) ?? {
      name: "",
      start: node.start,
    };
    const lines = text.slice(start, node.end).split("\n").length;
    found.push({ file, name: called, lines });
  };
  new Visitor({
    VariableDeclarator: ({ id, init }) => name(init, id),
    Property: ({ key, value, method, start }) =>
      name(value, key, method ? start : value.start),
    MethodDefinition: ({ key, value, start }) => name(value, key, start),
    FunctionDeclaration: add,
    FunctionExpression: add,
    ArrowFunctionExpression: add,
  }).visit(parseSync(file, text).program);
  return found;
}
