import path from 'node:path';
import { build, type Plugin } from 'esbuild';
import { beyond, modules, replaced } from './stand-ins.ts';

export interface ScriptBundle {
  /** One script, for the engine's compiler. */
  readonly script: Uint8Array;
  /** The files that went into it, relative to the repository. */
  readonly files: readonly string[];
}

/**
 * Bundles what runs on the small engine: from agent/tiny/main.ts that is the way to READY, and `apply`.
 * @param root the repository
 * @param entry relative to it
 * @param engine name and version of the engine, for --version
 * @param wholeBytes the size of the whole program, by which another one is told from it; 0: any is taken for it
 * @throws Error naming the file that imports what the engine has not
 */
export async function bundleScript(root: string, entry: string, engine: string, wholeBytes = 0): Promise<ScriptBundle> {
  const {
    outputFiles: [bundle],
    metafile,
  } = await build({
    absWorkingDir: root,
    entryPoints: [entry],
    bundle: true,
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
    define: { SMALL_ENGINE: JSON.stringify(engine), WHOLE_BYTES: String(wholeBytes) },
    plugins: [smallEngine(path.join(root, 'agent'))],
    logLevel: 'warning',
  });
  if (bundle === undefined) throw new Error('Expected one bundle from esbuild, got none');
  return { script: bundle.contents, files: Object.keys(metafile.inputs).filter((file) => !file.startsWith('beyond:')) };
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
      bundler.onResolve({ filter: /^\./ }, ({ path: name, importer, kind }) => {
        const file = path.relative(agent, path.join(path.dirname(importer), name));
        if (importer.startsWith(path.join(agent, 'tiny/'))) return undefined;
        if (beyond.includes(file))
          return kind === 'dynamic-import'
            ? { path: file, namespace: 'beyond' }
            : {
                errors: [
                  { text: `${path.relative(agent, importer)} imports ${file} at once, which the small engine has not` },
                ],
              };
        const own = replaced[file];
        return own === undefined ? undefined : { path: path.join(agent, own) };
      });
      bundler.onLoad({ filter: /^/, namespace: 'beyond' }, () => ({
        contents: `import { goBeyond } from './tiny/whole-runtime.ts'; goBeyond();`,
        resolveDir: agent,
      }));
    },
  };
}
