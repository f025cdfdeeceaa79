/** What a caller without an identity may say of where it comes from: nothing, unless it is a proxy that is trusted (law 5). */
import t from "tap";
import {
  NO_IDENTITY,
  strangersClaims,
} from "../../../src/proxy/exchange/forwarded.ts";
import { FieldClass } from "../../../src/mesh/field-class.ts";

const { FORWARDED, IDENTITY, MESH } = FieldClass;

function told(trusted: readonly string[], from: string): string {
  const { dropped, known } = strangersClaims(trusted)(from);
  const fields = known.map(({ name, value }) => `${name}: ${value}`);
  return `${dropped === MESH ? "believed" : "not believed"}; ${fields.join(", ")}`;
}

void t.test("what the application is told of a stranger", (t) => {
  const stranger = (address: string): string =>
    `not believed; x-forwarded-for: ${address}, x-forwarded-proto: http`;
  const rows: readonly (readonly [
    trusted: readonly string[],
    from: string,
    expected: string,
  ])[] = [
    [[], "10.0.0.9", stranger("10.0.0.9")],
    [[], "::ffff:10.0.0.9", stranger("10.0.0.9")],
    [[], "fd00::9", stranger("fd00::9")],
    [[], "fe80::9%eth0", stranger("fe80::9")],
    [[], "", stranger("")],
    [["10.0.0.0/8"], "10.0.0.9", "believed; "],
    [["10.0.0.0/8"], "::ffff:10.0.0.9", "believed; "],
    [["10.0.0.0/8"], "11.0.0.9", stranger("11.0.0.9")],
    [["10.0.0.0/8"], "fd00::9", stranger("fd00::9")],
    [["10.0.0.0/8"], "", stranger("")],
    [["10.1.0.0/16", "fd00::/8"], "fd00::9", "believed; "],
    [["10.1.0.0/16", "fd00::/8"], "10.2.0.1", stranger("10.2.0.1")],
    [["10.0.0.9/32"], "10.0.0.9", "believed; "],
    [["0.0.0.0/0"], "fd00::9", stranger("fd00::9")],
  ];
  for (const [trusted, from, expected] of rows)
    t.equal(told(trusted, from), expected, `${trusted.join()}: ${from}`);
  t.equal(strangersClaims([])("10.0.0.9").dropped, FORWARDED | MESH);
  t.end();
});

void t.test("nobody may claim an identity", (t) => {
  t.strictSame(NO_IDENTITY, { dropped: IDENTITY, known: [] });
  t.end();
});

void t.test("a range that is none is refused with what to write", (t) => {
  for (const range of ["10.0.0.1", "x", "", "10.0.0.0/33", "10.0.0.0/8,::/0"])
    t.throws(
      () => strangersClaims([range]),
      { message: /^invalid --trusted-proxy .*; expected a range like 10/s },
      `"${range}"`,
    );
  t.end();
});
