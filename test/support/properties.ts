import fc from 'fast-check';
import { seed } from './seed.ts';

fc.configureGlobal({ seed });

/** fast-check, from the seed of all random tests. */
export { default } from 'fast-check';
