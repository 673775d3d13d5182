import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Plugin } from 'esbuild';

const addonPath = 'node_modules/@koromix/koffi-linux-x64/linux_x64/koffi.node';

/**
 * An esbuild plugin that puts koffi's addon for x86-64 glibc into the bundle, so that the one file works on a machine
 * without node_modules: `createRequire(…)('koffi')` gives the addon, and other names are required as usual.
 *
 * dlopen(3) needs a file, so the addon is written into a private folder, loaded and removed again. /dev/shm is tried if
 * the folder for temporary files is mounted noexec. The addon is included as plain base64, which takes 1.5 MB, and 2 ms
 * at start. With zstd it would take 0.3 MB and 15 ms, most of that for loading node:zlib.
 * @param root the repository
 */
export function embeddedKoffi(root: string): Plugin {
  return {
    name: 'embedded-koffi',
    setup(build) {
      build.onResolve({ filter: /^node:module$/ }, ({ importer }) =>
        importer === path.join(root, 'agent/system/libc.ts')
          ? { path: 'create-require', namespace: 'embedded-koffi' }
          : undefined,
      );
      build.onLoad({ filter: /^create-require$/, namespace: 'embedded-koffi' }, () => ({
        contents: createRequireSource(readFileSync(path.join(root, addonPath))),
        resolveDir: root,
      }));
    },
  };
}

function createRequireSource(addon: Buffer): string {
  return `
    import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
    import { createRequire as nodeCreateRequire } from 'node:module';
    import { tmpdir } from 'node:os';
    export function createRequire(from) {
      return (name) => name === 'koffi' ? loadKoffi() : nodeCreateRequire(from)(name);
    }
    function loadKoffi() {
      const failures = [];
      for (const parent of [tmpdir(), '/dev/shm']) {
        let folder;
        try {
          folder = mkdtempSync(parent + '/docker-preloader-');
          const file = folder + '/koffi.node';
          writeFileSync(file, Buffer.from('${addon.toString('base64')}', 'base64'), { mode: 0o500 });
          const loaded = { exports: {} };
          process.dlopen(loaded, file);
          return loaded.exports;
        } catch (error) {
          failures.push(error.message);
        } finally {
          if (folder) rmSync(folder, { recursive: true });
        }
      }
      throw new Error('Expected to load koffi from a temporary file, found: ' + failures.join('; ') + '. Set TMPDIR to a folder that is not mounted noexec');
    }`;
}
