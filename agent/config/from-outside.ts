import { existsSync } from 'node:fs';
import { linkTarget } from '../system/read-files.ts';
import { parseConfig, parseKey, textOf, type Said } from './parse-config.ts';

/** In the initial namespace of processes, and in no other (Linux, include/linux/proc_ns.h, PROC_PID_INIT_INO). */
const INITIAL_NAMESPACE = 'pid:[4026531836]';

/** Where it shows whether this is a container. */
export interface ContainerMarks {
  /** The link that names our namespace of processes. */
  readonly namespace: string;
  /** Files of which a container has one. */
  readonly files: readonly string[];
}

/** What a credential says. @param name without `docker-preloader.` @throws Error naming the key */
export function saidByCredential(name: string, bytes: Buffer): Said {
  const text = textOf(bytes).trim();
  return name === 'config' ? parseConfig(text) : parseKey(name, text);
}

/**
 * What the kernel's command line says for us: `docker_preloader.KEY=VALUE`, perhaps with quotes, and with dashes or
 * underscores, as systemd takes its own. Of a key that is there twice the last one counts. @throws Error naming the key
 */
export function saidOnCommandLine(line: string): Said {
  let said: Said = {};
  for (const [word] of line.matchAll(/(?:[^\s"]|"[^"]*(?:"|$))+/g)) {
    const [, name] = /^docker[-_]preloader\.(.*)$/s.exec(word.replaceAll('"', '')) ?? [];
    if (name === undefined) continue;
    // The kernel passes bytes on; those that are not UTF-8 have become this character.
    if (name.includes('\uFFFD'))
      throw new Error(`\`${name.split('=')[0] ?? ''}\`: expected UTF-8, found bytes that are none`);
    const equals = name.indexOf('=');
    if (equals === -1) throw new Error(`\`${name}\`: expected docker_preloader.${name}=VALUE, found no value`);
    said = { ...said, ...parseKey(name.slice(0, equals), name.slice(equals + 1)) };
  }
  return said;
}

/** Whether this is a container. It sees the command line of its host's kernel, which is not meant for it. */
export function isContainer({ namespace, files }: ContainerMarks): boolean {
  return linkTarget(namespace) !== INITIAL_NAMESPACE || files.some((file) => existsSync(file));
}
