/** Field paths as people read them: `spec.rules[0].matches[1].path.value`, `metadata.labels["app.kubernetes.io/name"]`. */

export type Segment = string | number;

const PLAIN = /^[A-Za-z_$][A-Za-z0-9_$-]*$/;
const STEP =
  /\.?([A-Za-z_$][A-Za-z0-9_$-]*)|\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]/y;

export function formatPath(segments: readonly Segment[]): string {
  let text = "";
  for (const segment of segments) {
    if (typeof segment === "number") text += `[${segment}]`;
    else if (!PLAIN.test(segment)) text += `[${JSON.stringify(segment)}]`;
    else text += text === "" ? segment : `.${segment}`;
  }
  return text;
}

/** The segments of what `formatPath` made; undefined where the text is not a path. */
export function parsePath(text: string): Segment[] | undefined {
  const segments: Segment[] = [];
  STEP.lastIndex = 0;
  while (STEP.lastIndex < text.length) {
    const [, plain, index, quoted] = STEP.exec(text) ?? [];
    if (plain !== undefined) segments.push(plain);
    else if (index !== undefined) segments.push(Number(index));
    else if (quoted !== undefined) segments.push(String(JSON.parse(quoted)));
    else return undefined;
  }
  return segments;
}

/** The path with "[]" for every index: the form in which a kind lists fields that it does not support. */
export function shapeOf(segments: readonly Segment[]): string {
  return segments
    .map((segment, at) =>
      typeof segment === "number" ? "[]" : at === 0 ? segment : `.${segment}`,
    )
    .join("");
}

/** A JSON pointer as segments, told apart by walking `root`: "8080" is an index in a list and a name in an object. */
export function fromPointer(pointer: string, root: unknown): Segment[] {
  const segments: Segment[] = [];
  let value = root;
  for (const part of pointer.split("/").slice(1)) {
    const name = part.replaceAll("~1", "/").replaceAll("~0", "~");
    if (Array.isArray(value)) {
      segments.push(Number(name));
      value = value[Number(name)] as unknown;
    } else {
      segments.push(name);
      value =
        typeof value === "object" &&
        value !== null &&
        Object.hasOwn(value, name)
          ? (value as Record<string, unknown>)[name]
          : undefined;
    }
  }
  return segments;
}
