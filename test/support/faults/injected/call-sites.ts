/** The calls of the machine that the source makes, as its text has them: what a run of it is compared with. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseSync, Visitor, type Span } from "oxc-parser";
import { SRC, sourceFiles } from "../../repository/imports.ts";

/** Modules whose functions ask the system for something that it may not have. */
const MODULES =
  /^node:(?:child_process|dgram|dns|fs|net|os|sqlite|tls|worker_threads)(?:\/promises)?$/;
/** What asks the system for nothing yet, or cannot fail. */
const HARMLESS =
  /^(?:BlockList|Socket|TLSSocket|createSocket|endianness|existsSync|flatMap|SocketAddress|isIP|isIPv4|isIPv6|isMainThread|parentPort|workerData|checkServerIdentity|constants|createServer|getCACertificates|availableParallelism|totalmem|freemem|tmpdir|rootCertificates|createSecureContext|markAsUntransferable|SecureContext|threadId|MessageChannel|receiveMessageOnPort|userInfo)$/;
/** Folders of what serves, and not of commands, tools and the demo. */
const SERVES =
  /^(?:agent|control-plane|core|identity|policy|proxy|push|runtime|sidecar|telemetry|wire)\//;

export interface CallSite {
  /** "core/directory.ts:41" */
  readonly at: string;
  /** "readFile" */
  readonly name: string;
}

export function callSites(): CallSite[] {
  return sourceFiles()
    .filter((file) => SERVES.test(file))
    .flatMap(sitesIn);
}

function sitesIn(file: string): CallSite[] {
  const text = readFileSync(join(SRC, file), "utf8");
  const { program, module } = parseSync(file, text);
  /** By their name here, the name in the module. */
  const names = new Map<string, string>();
  for (const { moduleRequest, entries } of module.staticImports)
    if (MODULES.test(moduleRequest.value))
      for (const { isType, importName, localName } of entries)
        if (!isType) names.set(localName.value, importName.name ?? "*");
  if (names.size === 0) return [];
  const found: CallSite[] = [];
  const add = (callee: Span & { readonly type: string }): void => {
    const called = text.slice(callee.start, callee.end);
    const [first = "", ...rest] = called.split(".");
    const imported = names.get(first);
    if (imported === undefined || rest.length > 1) return;
    const name = rest[0] ?? imported;
    if (HARMLESS.test(name)) return;
    const line = text.slice(0, callee.start).split("\n").length;
    found.push({ at: `${file}:${line}`, name });
  };
  new Visitor({
    CallExpression: ({ callee }) => add(callee),
    NewExpression: ({ callee }) => add(callee),
  }).visit(program);
  return found;
}
