import { builtinModules } from 'node:module';
import type { Plugin } from 'esbuild';

const builtins = new Set(builtinModules.filter((name) => !name.startsWith('node:')));

/**
 * An esbuild plugin that makes Node's own modules load when the module that imports them is evaluated. In one file,
 * esbuild wraps what is imported by `import()`, but hoists the `import … from 'node:http'` in there to the top, where
 * it costs every start.
 */
export const lazyBuiltins: Plugin = {
  name: 'lazy-builtins',
  setup(build) {
    build.onResolve({ filter: /^[a-z:_/]+$/ }, ({ path: specifier }) => {
      const name = specifier.replace(/^node:/, '');
      return builtins.has(name) ? { path: name, namespace: 'lazy-builtins', sideEffects: false } : undefined;
    });
    build.onLoad({ filter: /^/, namespace: 'lazy-builtins' }, ({ path: name }) => ({
      contents: `module.exports = process.getBuiltinModule('node:${name}');`,
    }));
  },
};
