// The linter's rules: strict types everywhere, one clock, one way to throw.
import js from "@eslint/js";
import regexp from "eslint-plugin-regexp";
import tseslint from "typescript-eslint";

const fromClock =
  "Take it from core/clock.ts: time, timers and chance have one source (law 11).";

export default tseslint.config(
  { ignores: ["node_modules", ".tap", "dist", "bench/results"] },
  js.configs.recommended,
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: {
      parserOptions: {
        projectService: {
          allowDefaultProject: [
            "src/*.js",
            "src/tools/*.js",
            "test/*.js",
            "eslint.config.js",
          ],
        },
        tsconfigRootDir: import.meta.dirname,
      },
    },
    rules: {
      // The SDK's own exporters call it too, and nothing else of it reads headers and certificates from the environment.
      "@typescript-eslint/no-deprecated": [
        "error",
        {
          allow: [
            {
              from: "package",
              name: "convertLegacyHttpOptions",
              package: "@opentelemetry/otlp-exporter-base",
            },
          ],
        },
      ],
      "@typescript-eslint/switch-exhaustiveness-check": [
        "error",
        { considerDefaultExhaustiveForUnions: true },
      ],
      "@typescript-eslint/restrict-template-expressions": [
        "error",
        { allowNumber: true, allowBoolean: true },
      ],
      // No enum is written here (erasableSyntaxOnly), and this rule looks at each assignment for one.
      "@typescript-eslint/no-unsafe-enum-assignment": "off",
      "@typescript-eslint/only-throw-error": "error",
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/explicit-module-boundary-types": "error",
      "@typescript-eslint/no-confusing-void-expression": [
        "error",
        { ignoreArrowShorthand: true },
      ],
      "@typescript-eslint/no-unused-vars": [
        "error",
        { argsIgnorePattern: "^_", varsIgnorePattern: "^_" },
      ],
      // TypeScript's own noPropertyAccessFromIndexSignature asks for the brackets that this rule would remove.
      "@typescript-eslint/dot-notation": [
        "error",
        { allowIndexSignaturePropertyAccess: true },
      ],
      "no-control-regex": "off",
      "no-restricted-syntax": [
        "error",
        {
          selector: "ExportDefaultDeclaration",
          message: "Named exports only.",
        },
      ],
      "no-restricted-globals": [
        "error",
        ...["setTimeout", "setInterval", "Date", "performance"].map((name) => ({
          name,
          message: fromClock,
        })),
      ],
      "no-restricted-properties": [
        "error",
        { object: "Math", property: "random", message: fromClock },
        {
          object: "process",
          property: "exit",
          message: "Only main.ts ends the process.",
        },
      ],
    },
  },
  {
    // Law 15: what a peer sends may take no time that grows faster than its size, and nobody knows for sure which texts come from a
    // peer. So "potential" as well as "certain", and a search that begins anew at each place. Sticky ones are not moved.
    files: ["src/**"],
    plugins: { regexp },
    rules: {
      "regexp/no-super-linear-backtracking": ["error", { report: "potential" }],
      "regexp/no-super-linear-move": [
        "error",
        { report: "potential", ignorePartial: false, ignoreSticky: true },
      ],
    },
  },
  {
    files: ["src/**"],
    ignores: ["src/runtime/http.ts"],
    rules: {
      "@typescript-eslint/no-restricted-imports": [
        "error",
        {
          name: "node:http",
          allowTypeImports: true,
          message: "Take it from runtime/http.ts: an import costs 15 MiB.",
        },
      ],
    },
  },
  {
    // launch.js runs on a Node that cannot load the clock.
    files: ["src/core/clock.ts", "src/launch.js", "src/install-turn.js"],
    rules: {
      "no-restricted-globals": "off",
      "no-restricted-properties": "off",
    },
  },
  {
    files: [
      "src/main.ts",
      "src/launch.js",
      "src/install-turn.js",
      "test/run.js",
    ],
    rules: { "no-restricted-properties": "off" },
  },
  { files: ["**/*.js"], ...tseslint.configs.disableTypeChecked },
  {
    files: ["**/*.js"],
    languageOptions: { globals: { process: "readonly", console: "readonly" } },
    rules: {
      "no-restricted-syntax": "off",
      "@typescript-eslint/explicit-module-boundary-types": "off",
    },
  },
  { files: ["test/**"], rules: { "no-restricted-globals": "off" } },
);
