import { createHash } from 'node:crypto';
import { chmodSync, globSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { runProgram } from '../../system/child-process.ts';
import { type Architecture, ownArchitecture } from '../architecture.ts';
import { compilerName, requireBuildTools } from './build-tools.ts';
import { bundleScript, type Script } from './script-bundle.ts';
import { keptFolder } from './cache-folder.ts';
import { agreedEngine } from './agreed-engine.ts';
import type { EngineSource } from './engine-source.ts';

/** The engine's own sources. They are C of 2017, with warnings. */
const ENGINE = ['quickjs', 'libregexp', 'libunicode', 'cutils', 'dtoa'];

/**
 * How all of it is compiled. What is not called is left out by the linker, so each function has a section of its own:
 * so the parser of JavaScript goes. It lies anywhere in memory (static-pie), and what it had to fix there is read-only
 * then (relro). Signed numbers that overflow wrap, which the engine relies on. `sanitized`: with AddressSanitizer and
 * UndefinedBehaviorSanitizer, which end the process at the first fault.
 */
const flags = {
  shipped: {
    compile: words(
      '-std=gnu11 -O3 -fwrapv -fPIE -fno-plt -ffunction-sections -fdata-sections -fno-ident -fno-asynchronous-unwind-tables',
      '-fstack-protector-strong -fstack-clash-protection -D_FORTIFY_SOURCE=2 -D_GNU_SOURCE',
    ),
    link: words(
      '-static-pie -Wl,--gc-sections -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,-z,separate-code',
      '-Wl,--build-id=none -Wl,--fatal-warnings -s',
    ),
  },
  sanitized: {
    compile: words(
      '-std=gnu11 -O1 -g -fwrapv -fno-omit-frame-pointer -ffunction-sections -fdata-sections -D_GNU_SOURCE',
      '-fsanitize=address,undefined -fno-sanitize-recover=all',
    ),
    link: words('-Wl,--gc-sections'),
  },
} as const;
type Flavour = keyof typeof flags;
const strict = words('-Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Werror');

/** As in agent/tiny/native/main.c. */
const NAME_BYTES = 32;
const COMPILE_LIMIT_MS = 1_200_000;

/**
 * Makes the small executable, from agent/tiny/, the boot path, and the engine. The engine takes half a minute, once: it
 * is kept. The same sources and the same compiler give the same bytes, in any folder.
 * @param root the repository
 * @param output the executable's path; an older one is replaced as a whole
 * @param whole the path of the whole program, which it becomes
 * @returns what of the engine is in it
 * @throws PreloaderError TOOL_MISSING
 */
export async function buildSmallExecutable(
  root: string,
  output: string,
  whole: string,
  architecture = ownArchitecture(),
): Promise<EngineSource> {
  requireBuildTools(architecture);
  const source = await agreedEngine(root);
  const { scripts } = await bundleScript(root, 'agent/tiny/main.ts', {
    engine: `quickjs ${source.version}`,
    wholeBytes: statSync(whole).size,
    hasFirstReads: architecture.hasFirstReads,
  });
  await linkScripts(root, scripts, source, output, { architecture });
  return source;
}

/** What is compiled, and for what. */
interface Target {
  /** By default this machine's. */
  readonly architecture?: Architecture;
  /** `sanitized` for tests, on this machine. */
  readonly flavour?: Flavour;
}

/**
 * Makes an executable of the engine and scripts.
 * @param root the repository
 */
export async function linkScripts(
  root: string,
  scripts: readonly Script[],
  source: EngineSource,
  output: string,
  { architecture = ownArchitecture(), flavour = 'shipped' }: Target = {},
): Promise<void> {
  const gcc = compilerOf(architecture, flavour);
  const engine = await compiledEngine(root, source, architecture, flavour);
  // Bytecode is the same for all that are little-endian and of 64 bits (quickjs.c, JS_WriteObject).
  const compiler =
    architecture === ownArchitecture() ? engine : await compiledEngine(root, source, ownArchitecture(), flavour);
  const temporary = mkdtempSync(path.join(path.dirname(output), '.small-'));
  try {
    const at = (name: string): string => path.join(temporary, name);
    for (const { name, text } of scripts) {
      writeFileSync(at(name), text);
      await run(path.join(compiler, 'compile'), [name, `${name}.bytecode`], temporary);
    }
    writeFileSync(at('bytecode.S'), bytecodeSource(scripts));
    const native = path.join(root, 'agent/tiny/native');
    const parts = globSync('*.c', { cwd: native, exclude: ['compile.c'] }).toSorted();
    for (const part of parts)
      await gcc([...strict, '-isystem', source.folder, '-c', path.join(native, part)], temporary);
    await gcc(['-c', 'bytecode.S'], temporary);
    const objects = [...parts.map((part) => part.replace(/c$/, 'o')), 'bytecode.o'];
    const library = ENGINE.map((name) => path.join(engine, `${name}.o`));
    await gcc([...flags[flavour].link, '-o', 'executable', ...objects, ...library, '-lm', '-lpthread'], temporary);
    chmodSync(at('executable'), 0o755);
    renameSync(at('executable'), output);
  } finally {
    rmSync(temporary, { recursive: true });
  }
}

/** Puts all bytecode into one section, and before it what is where. */
function bytecodeSource(scripts: readonly Script[]): string {
  const entries = scripts.map(
    ({ name }, index) =>
      `0: .asciz "${name}"\n.org 0b + ${NAME_BYTES}, 0\n.long part_${index} - bytecode, end_${index} - part_${index}`,
  );
  const parts = scripts.map(
    ({ name }, index) => `.balign 16\npart_${index}: .incbin "${name}.bytecode"\nend_${index}:`,
  );
  return [
    '.section .rodata.bytecode, "a"',
    '.balign 16',
    '.global bytecode',
    'bytecode:',
    ...entries,
    `.skip ${NAME_BYTES} + 8`,
    ...parts,
    '.section .note.GNU-stack, "", %progbits',
    '',
  ].join('\n');
}

/** The engine as objects, and its compiler of bytecode, which has a parser. */
async function compiledEngine(
  root: string,
  { version, folder }: EngineSource,
  architecture: Architecture,
  flavour: Flavour,
): Promise<string> {
  const gcc = compilerOf(architecture, flavour);
  const { link } = flags[flavour];
  const compile = compileFlags(architecture, flavour);
  const compiler = readFileSync(path.join(root, 'agent/tiny/native/compile.c'));
  const { stdout: gccVersion } = await runProgram(compilerName(architecture), ['-v', '--version'], {});
  const all = createHash('sha256')
    .update([version, gccVersion, ...compile, ...link].join('\n'))
    .update(compiler);
  return keptFolder(`small-engine-${all.digest('hex').slice(0, 16)}`, async (objects) => {
    for (const name of ENGINE)
      await gcc(
        [`-DCONFIG_VERSION="${version}"`, '-w', '-c', `${name}.c`, '-o', path.join(objects, `${name}.o`)],
        folder,
      );
    const own = path.join(root, 'agent/tiny/native/compile.c');
    await gcc(
      [...strict, '-isystem', folder, own, ...ENGINE.map((name) => `${name}.o`), '-o', 'compile', '-lm', '-lpthread'],
      objects,
    );
  });
}

function compilerOf(
  architecture: Architecture,
  flavour: Flavour,
): (args: readonly string[], cwd: string) => Promise<void> {
  const all = compileFlags(architecture, flavour);
  return (args, cwd) => run(compilerName(architecture), [...all, ...args], cwd);
}

function compileFlags({ jumpProtection }: Architecture, flavour: Flavour): string[] {
  return [...flags[flavour].compile, ...(flavour === 'shipped' ? [jumpProtection] : [])];
}

function words(...lines: readonly string[]): string[] {
  return lines.flatMap((line) => line.split(' '));
}

async function run(program: string, args: readonly string[], cwd: string): Promise<void> {
  const { failed, stderr, code } = await runProgram(program, args, {
    cwd,
    timeoutMs: COMPILE_LIMIT_MS,
    // The compiler of bytecode frees nothing: it ends.
    env: { LC_ALL: 'C', ASAN_OPTIONS: 'detect_leaks=0' },
  });
  if (failed) throw new Error(`${path.basename(program)} ${args.at(-1) ?? ''}: ${code ?? stderr.trim()}`);
}
