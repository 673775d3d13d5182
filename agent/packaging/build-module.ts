import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { built } from './build-program.ts';
import { buildModule } from './program/module.ts';

/** Before `npm pack`: makes what the npm package is made of. That needs npm packages alone, and no compiler. */
if (import.meta.main) {
  const root = path.resolve(import.meta.dirname, '../..');
  const dist = path.join(root, 'dist');
  mkdirSync(dist, { recursive: true });
  await buildModule(root, path.join(dist, built.module));
}
