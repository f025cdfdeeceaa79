/** The patterns of an AuthorizationPolicy for names, hosts and paths, compiled to predicates. */
import { canonicalAuthority } from "../../core/text/authority.ts";
import { upperEscapes } from "../../core/text/percent.ts";

export type CompilePattern = (pattern: string) => (value: string) => boolean;

/** Exact, "abc*", "*abc", or "*" for present and not empty (trap 5). */
export function matchText(pattern: string): (value: string) => boolean {
  if (pattern === "*") return (value) => value !== "";
  if (pattern.endsWith("*")) {
    const prefix = pattern.slice(0, -1);
    return (value) => value.startsWith(prefix);
  }
  if (pattern.startsWith("*")) {
    const suffix = pattern.slice(1);
    return (value) => value.endsWith(suffix);
  }
  return (value) => value === pattern;
}

/** Hosts: without port and without regard to case, in the one form that requests have (`core/text/authority.ts`). */
export function matchHost(pattern: string): (value: string) => boolean {
  const name = pattern.replace(/:([0-9]+|\*)$/, "");
  return matchText(
    canonicalAuthority(name) ?? name.toLowerCase().replace(/\.$/, ""),
  );
}

/** "%c3" and "%C3" are one byte to the application: paths come with escapes in upper case, so patterns are compared so. */
export function matchPath(pattern: string): (value: string) => boolean {
  const canonical = upperEscapes(pattern);
  return pattern.includes("{")
    ? matchTemplate(canonical)
    : matchText(canonical);
}

/** "{*}" is one element that is not empty, "{**}" the rest of the path or any part of it, slashes and all. */
function matchTemplate(template: string): (value: string) => boolean {
  const wanted = template.split("/");
  const open = wanted.indexOf("{**}");
  const head = open < 0 ? wanted : wanted.slice(0, open);
  const tail = open < 0 ? [] : wanted.slice(open + 1);
  return (value) => {
    const elements = value.split("/");
    if (open < 0 && elements.length !== wanted.length) return false;
    // "{**}" stands for one element at least, which may be empty: "/a/{**}" takes "/a/" and not "/a".
    if (open >= 0 && elements.length < head.length + 1 + tail.length)
      return false;
    const offset = elements.length - tail.length;
    return (
      head.every((want, index) => takes(want, elements[index])) &&
      tail.every((want, index) => takes(want, elements[offset + index]))
    );
  };
}

function takes(want: string, element: string | undefined): boolean {
  return want === "{*}" ? element !== "" : want === element;
}
