/** The list of an image's parts, in CycloneDX: npm says it of the packages, and the machine's dpkg of the libraries beside Node. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { CHECKOUT, HOME } from "./config.ts";
import type { Library } from "./libraries.ts";
import type { Layers } from "./root.ts";

interface Component {
  readonly "bom-ref": string;
  readonly type: "application" | "file" | "library" | "platform";
  readonly name: string;
  readonly version: string;
  readonly purl?: string;
  readonly hashes?: readonly {
    readonly alg: string;
    readonly content: string;
  }[];
}

interface Document {
  readonly specVersion: string;
  readonly metadata: { readonly component: Component };
  readonly components: readonly Component[];
  readonly dependencies: readonly {
    readonly ref: string;
    readonly dependsOn?: readonly string[];
  }[];
}

/** `node`: version of the Node that is in it. */
export function makeSbom(layers: Layers, node: string): Document {
  const all = JSON.parse(
    execFileSync("npm", ["sbom", "--sbom-format=cyclonedx"], {
      cwd: CHECKOUT,
      encoding: "utf8",
      maxBuffer: 1 << 26,
      stdio: ["ignore", "pipe", "inherit"],
    }),
  ) as Document;
  return narrow(all, bundledIn(layers), [
    nodeComponent(layers, node),
    ...systemComponents(layers.libraries),
  ]);
}

function bundledIn({ program }: Layers): Set<string> {
  const names = JSON.parse(
    readFileSync(join(program, HOME, "packages.json"), "utf8"),
  ) as readonly string[];
  const native = ["koffi", `@koromix/koffi-linux-${process.arch}`].map(
    (name) => {
      const manifest = join(CHECKOUT, "node_modules", name, "package.json");
      const { version } = JSON.parse(readFileSync(manifest, "utf8")) as {
        readonly version: string;
      };
      return `${name}@${version}`;
    },
  );
  return new Set([...names, ...native]);
}

/** Narrows what is installed to what the image holds code of, and adds what npm knows nothing of. */
export function narrow(
  all: Document,
  held: ReadonlySet<string>,
  others: readonly Component[],
): Document {
  const { component } = all.metadata;
  const components = all.components.filter((each) => held.has(idOf(each)));
  const missing = [...held].filter(
    (id) => !components.some((each) => idOf(each) === id),
  );
  if (missing.length > 0)
    throw new Error(
      `npm does not know of ${missing.join(", ")}: run "npm ci", and make the image again`,
    );
  const kept = [...components, ...others];
  const refs = new Set(kept.map((each) => each["bom-ref"]));
  return {
    ...all,
    metadata: {
      ...all.metadata,
      // npm names it after the folder that it runs in.
      component: {
        ...component,
        type: "application",
        name: component["bom-ref"].split("@")[0] ?? component.name,
      },
    },
    components: kept,
    dependencies: all.dependencies
      .filter(({ ref }) => refs.has(ref) || ref === component["bom-ref"])
      .map(({ ref, dependsOn = [] }) => ({
        ref,
        dependsOn: dependsOn.filter((each) => refs.has(each)),
      })),
  };
}

function idOf({ name, version }: Pick<Component, "name" | "version">): string {
  return `${name}@${version}`;
}

function nodeComponent({ base }: Layers, version: string): Component {
  const content = createHash("sha256")
    .update(readFileSync(join(base, "usr/bin/node")))
    .digest("hex");
  return {
    "bom-ref": `node@${version}`,
    type: "platform",
    name: "node",
    version,
    purl: `pkg:generic/node@${version}`,
    hashes: [{ alg: "SHA-256", content }],
  };
}

/** A component a package of the system's; a library of no package is a component by its path. */
function systemComponents(libraries: readonly Library[]): Component[] {
  const components = libraries.map(({ path, package: owner }): Component => {
    if (owner === undefined)
      return { "bom-ref": path, type: "file", name: path, version: "" };
    const purl = `pkg:deb/debian/${owner.name}@${encodeURIComponent(owner.version)}`;
    return { "bom-ref": purl, type: "library", ...owner, purl };
  });
  return [
    ...new Map(components.map((each) => [each["bom-ref"], each])).values(),
  ];
}
