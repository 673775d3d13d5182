import { builtinModules } from 'node:module';
import type { Plugin } from 'esbuild';

const builtins = new Set(builtinModules.filter((name) => !name.startsWith('node:')));

/**
 * An esbuild plugin that loads Node's own modules when the module that imports them is evaluated. In a single file,
 * esbuild wraps modules that are imported by `import()`, but hoists an `import … from 'node:http'` in them to the top,
 * where it slows down every start.
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
