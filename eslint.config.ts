import js from "@eslint/js";
import { defineConfig, globalIgnores } from "eslint/config";
import tseslint from "typescript-eslint";

const NODE = [
  "console",
  "fetch",
  "performance",
  "process",
  "URL",
  "setTimeout",
  "Blob",
  "TextEncoder",
  "document",
  "localStorage",
  "window",
  "AbortController",
];

export default defineConfig(
  globalIgnores([
    "dist/",
    "target/",
    "test-results/",
    ".tools/",
    "src/",
    "examples/",
    "fuzz/",
    "xtask/",
    "tests/golden/",
    "www/pure.d.ts",
    "www/worker-url.d.ts",
  ]),
  js.configs.recommended,
  tseslint.configs.recommendedTypeChecked,
  {
    languageOptions: {
      parserOptions: {
        project: ["www/tsconfig.json", "www/tsconfig.worker.json", "tests/page/tsconfig.json"],
        tsconfigRootDir: import.meta.dirname,
      },
    },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      eqeqeq: "error",
      // Functions are camelCase; data is snake_case, as in Rust, in Python and in the engine's declarations.
      "@typescript-eslint/naming-convention": [
        "error",
        { selector: "function", format: ["camelCase"] },
        { selector: "variable", types: ["function"], format: ["camelCase"] },
        {
          selector: ["variable", "parameter"],
          types: ["boolean", "string", "number", "array"],
          format: ["snake_case", "UPPER_CASE"],
          leadingUnderscore: "allow",
        },
        // The names of what the platform and packages return are theirs.
        {
          selector: ["variable", "parameter"],
          modifiers: ["destructured"],
          types: ["boolean", "string", "number", "array"],
          format: null,
        },
        { selector: "typeLike", format: ["PascalCase"] },
      ],
      "@typescript-eslint/no-unused-vars": ["error", { ignoreRestSiblings: true }],
      "@typescript-eslint/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
      // A listener may be asynchronous: what it throws is an unhandled rejection, and the tests of the page fail on those.
      "@typescript-eslint/no-misused-promises": ["error", { checksVoidReturn: false }],
      // Tokens hold control characters.
      "no-control-regex": "off",
    },
  },
  {
    // What crosses from a page under test has no type.
    files: ["tests/page/**"],
    rules: {
      "@typescript-eslint/no-explicit-any": "off",
      "@typescript-eslint/no-unsafe-argument": "off",
      "@typescript-eslint/no-unsafe-assignment": "off",
      "@typescript-eslint/no-unsafe-call": "off",
      "@typescript-eslint/no-unsafe-member-access": "off",
      "@typescript-eslint/no-unsafe-return": "off",
      "@typescript-eslint/require-await": "off",
    },
  },
  {
    files: ["**/*.{js,mjs}"],
    extends: [tseslint.configs.disableTypeChecked],
    languageOptions: { globals: Object.fromEntries(NODE.map((name) => [name, "readonly"])) },
  },
);
