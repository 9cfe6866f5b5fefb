// Bundles every top-level file of static/src into static/dist. `make build` runs it only when something changed.
import { build } from "esbuild";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const sources = join(here, "src");
const out = join(here, "dist");
const entries = readdirSync(sources).filter((name) => /\.(js|css)$/.test(name) && !name.startsWith("_"));
if (entries.length === 0) throw new Error(`no entry file in ${sources}`);

if (existsSync(out)) rmSync(out, { recursive: true });
await build({
  entryPoints: entries.map((name) => join(sources, name)),
  outdir: out,
  bundle: true,
  format: "esm",
  target: ["es2022"],
  minify: true,
  // one chunk for what two entries share; its name holds a hash, so an old page never meets a new chunk
  splitting: true,
  chunkNames: "chunk-[hash]",
  legalComments: "external",
  external: ["/static/*"],
  logLevel: "warning",
});
