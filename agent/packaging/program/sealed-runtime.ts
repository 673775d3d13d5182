import { readFileSync, writeFileSync } from 'node:fs';

/**
 * Environment variables with which anyone's shell profile would turn a program that is compiled with Bun into something
 * else: BUN_BE_BUN into Bun itself, BUN_OPTIONS=--preload=FILE into one that runs that file first, and BUN_BYTECODE_*_OUT
 * into one that writes a file. No flag of `bun build --compile` (1.4.5) turns them off.
 */
const sealedNames = ['BUN_BE_BUN', 'BUN_OPTIONS', 'BUN_BYTECODE_'];

/**
 * Writes a copy of the Bun at `from` to `to` that does not know the variables above: their names get a `=`, which no
 * variable's name can hold (environ(7)), so nothing moves and no length changes.
 * @throws an Error when a name is not in there, for then this Bun reads its environment in another way
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
