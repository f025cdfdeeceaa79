/** Prints the functions of a folder with their length in lines, as JSON. A process of its own: the compiler does not survive the measuring of coverage. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";

export interface FunctionLength {
  readonly file: string;
  readonly name: string;
  readonly lines: number;
}

const [, , folder = "src"] = process.argv;
const found = readdirSync(folder, { recursive: true, encoding: "utf8" })
  .filter((file) => /\.(?:ts|js)$/.test(file))
  .flatMap((file) => functionsOf(file));
process.stdout.write(JSON.stringify(found));

function functionsOf(file: string): FunctionLength[] {
  const text = readFileSync(join(folder, file), "utf8");
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const functions: FunctionLength[] = [];
  const lineOf = (position: number): number =>
    source.getLineAndCharacterOfPosition(position).line;
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionLike(node) && "body" in node && node.body !== undefined)
      functions.push({
        file,
        name: nameOf(node, source),
        lines: lineOf(node.end) - lineOf(node.getStart(source)) + 1,
      });
    ts.forEachChild(node, visit);
  };
  visit(source);
  return functions;
}

function nameOf(node: ts.SignatureDeclaration, source: ts.SourceFile): string {
  if (node.name !== undefined) return node.name.getText(source);
  const { parent } = node;
  return (ts.isVariableDeclaration(parent) ||
    ts.isPropertyAssignment(parent)) &&
    parent.initializer === node
    ? parent.name.getText(source)
    : "";
}
