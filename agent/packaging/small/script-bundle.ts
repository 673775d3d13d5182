import { readFileSync } from 'node:fs';
import path from 'node:path';
import { build, type Metafile, type Plugin } from 'esbuild';
import { beyond, later, modules, replaced } from './stand-ins.ts';

/** A module of the engine. */
export interface Script {
  /** The others import it as `./NAME`. */
  readonly name: string;
  readonly text: Uint8Array;
}

/** The module that is begun with, as in agent/tiny/native/main.c. */
const FIRST = 'first';

export interface ScriptBundle {
  /** For the engine's compiler. */
  readonly scripts: readonly Script[];
  /** The files that went into them, relative to the repository. */
  readonly files: readonly string[];
}

/** What a bundle is told of what it is in. */
interface Facts {
  /** Name and version of the engine, for --version. */
  readonly engine: string;
  /** The size of the whole program, by which another one is told from it; 0: any is taken for it. */
  readonly wholeBytes?: number;
  /** Whether it is known what the whole program reads first. */
  readonly hasFirstReads?: boolean;
}

/**
 * Bundles what runs on the small engine: from agent/tiny/main.ts that is the way to READY, and `apply`. What is needed
 * later is in modules of their own, which are read when they are imported.
 * @param root the repository
 * @param entry relative to it
 * @throws Error naming the file that imports what the engine has not
 */
export async function bundleScript(
  root: string,
  entry: string,
  { engine, wholeBytes = 0, hasFirstReads = true }: Facts,
): Promise<ScriptBundle> {
  const { outputFiles, metafile } = await build({
    absWorkingDir: root,
    entryPoints: [
      { in: entry, out: FIRST },
      ...Object.keys(later).map((group) => ({ in: `${LATER}:${group}`, out: group })),
    ],
    bundle: true,
    splitting: true,
    outdir: '/',
    write: false,
    metafile: true,
    format: 'esm',
    platform: 'neutral',
    target: 'es2023',
    mainFields: ['module', 'main'],
    conditions: ['import'],
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'none',
    define: {
      SMALL_ENGINE: JSON.stringify(engine),
      WHOLE_BYTES: String(wholeBytes),
      HAS_FIRST_READS: String(hasFirstReads),
    },
    plugins: [smallEngine(path.join(root, 'agent'))],
    logLevel: 'warning',
  });
  refuseAtOnce(metafile);
  return {
    scripts: outputFiles.map(({ path: file, contents }) => ({ name: path.basename(file), text: contents })),
    files: Object.keys(metafile.inputs).filter((file) => !file.startsWith(`${LATER}:`)),
  };
}

/** @throws Error naming a file that is to be read later, and is not */
function refuseAtOnce(metafile: Metafile): void {
  const atOnce = importedBy(metafile, `${FIRST}.js`);
  for (const [output, { inputs }] of Object.entries(metafile.outputs))
    for (const file of atOnce.has(path.basename(output)) ? Object.values(later).flat() : [])
      if (inputs[`agent/${replaced[file] ?? file}`] !== undefined)
        throw new Error(`Expected that ${file} is imported by import() alone, found that it is read at once`);
}

/** What is loaded with a module, itself among it. */
function importedBy({ outputs }: Metafile, name: string, found = new Set<string>()): Set<string> {
  if (found.has(name)) return found;
  found.add(name);
  const [, output] = Object.entries(outputs).find(([file]) => path.basename(file) === name) ?? [];
  for (const each of output?.imports ?? [])
    if (each.kind === 'import-statement') importedBy({ inputs: {}, outputs }, path.basename(each.path), found);
  return found;
}

/** Leads each import to what the engine has. @param agent the folder */
function smallEngine(agent: string): Plugin {
  return {
    name: 'small-engine',
    setup(bundler) {
      bundler.onResolve({ filter: /^node:/ }, ({ path: name, importer }) => {
        const file = modules[name];
        if (file === undefined)
          return {
            errors: [{ text: `${path.relative(agent, importer)} imports ${name}, which the small engine has not` }],
          };
        return { path: path.join(agent, file) };
      });
      bundler.onResolve({ filter: /^\./ }, ({ path: name, importer }) => {
        const file = path.relative(agent, path.join(path.dirname(importer), name));
        if (importer.startsWith(path.join(agent, 'tiny/'))) return undefined;
        if (beyond.includes(file))
          return {
            errors: [
              { text: `${path.relative(agent, importer)} imports ${file} at once, which the small engine has not` },
            ],
          };
        const own = replaced[file];
        return own === undefined ? undefined : { path: path.join(agent, own) };
      });
      bundler.onLoad({ filter: /\.ts$/ }, ({ path: file }) =>
        file.startsWith(`${agent}/`) ? { contents: withImports(agent, file), loader: 'ts' } : undefined,
      );
      bundler.onResolve({ filter: new RegExp(`^${LATER}:`) }, ({ path: name }) => ({
        path: name.slice(`${LATER}:`.length),
        namespace: LATER,
      }));
      bundler.onLoad({ filter: /^/, namespace: LATER }, ({ path: group }) => ({
        contents: [
          // It comes before all else, and so is in the module that all of them import.
          `import './tiny/globals.ts';`,
          ...(later[group] ?? []).map((file) => `export * as ${nameOf(file)} from './${replaced[file] ?? file}';`),
        ].join('\n'),
        resolveDir: agent,
      }));
    },
  };
}

/** The namespace of what is read later: of each group of files, one module. */
const LATER = 'later';

/**
 * The text of a file, of which each `import()` leads to the module that has the other file. That is its own one unless
 * it is read later, and then it is all there. What is beyond the engine becomes another program there.
 */
function withImports(agent: string, from: string): string {
  const heads = new Set<string>();
  const text = readFileSync(from, 'utf8').replace(/\bimport\('(\.[^']+)'\)/g, (_, imported: string) => {
    const file = path.relative(agent, path.join(path.dirname(from), imported));
    if (beyond.includes(file)) {
      heads.add(`import { goBeyond as goBeyond_ } from '${path.join(agent, 'tiny/whole-runtime.ts')}';`);
      return 'goBeyond_()';
    }
    const name = nameOf(file);
    const group = Object.keys(later).find((each) => later[each]?.includes(file));
    if (group !== undefined) return `globalThis.door.load('${group}.js').then((all) => all.${name})`;
    heads.add(`import * as ${name} from '${imported}';`);
    return `Promise.resolve(${name})`;
  });
  return [text, ...heads].join('\n');
}

/** What the namespace of a file is called. */
function nameOf(file: string): string {
  return `all_of_${file.replace(/\W/g, '_')}`;
}
