import { readFileSync, writeFileSync } from 'node:fs';

/**
 * Environment variables with which a shell profile could turn any program that is compiled with Bun into something
 * else. BUN_BE_BUN makes it Bun itself, BUN_OPTIONS=--preload=FILE makes it run that file first, and BUN_BYTECODE_*_OUT
 * makes it write a file. No flag of `bun build --compile` (1.4.5) turns them off.
 */
const sealedNames = ['BUN_BE_BUN', 'BUN_OPTIONS', 'BUN_BYTECODE_'];

/**
 * Writes a copy of the Bun at `from` to `to` that ignores the variables above. Their names get a `=`, which no
 * variable's name can contain (environ(7)), so nothing moves and no length changes.
 * @throws an Error if a name is not found, because then this Bun reads its environment in another way
 */
export function writeSealedRuntime(from: string, to: string): void {
  const program = readFileSync(from);
  for (const name of sealedNames) {
    const underscore = name.indexOf('_');
    let at = program.indexOf(name);
    if (at === -1)
      throw new Error(
        `Expected \`${name}\` in ${from}, found none: see how this version of Bun reads it, and adapt ${import.meta.filename}`,
      );
    for (; at !== -1; at = program.indexOf(name, at + name.length)) program.write('=', at + underscore, 'latin1');
  }
  writeFileSync(to, program, { mode: 0o755 });
}
