import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, openSync, readSync, writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { cleanUpLater } from './cleanup.ts';

/** Of Linux, include/uapi/linux/fuse.h. */
const FUSE_INIT = 26;
const IN_HEADER_BYTES = 40;
const OUT_HEADER_BYTES = 16;
const INIT_OUT_BYTES = 64;

/**
 * Mounts a folder whose server takes each question and answers none, as one of another machine that hangs. Whoever asks waits
 * in the kernel, and no signal ends that.
 * @returns what lets the server end, after which each question fails
 */
export async function silentFolder(path: string): Promise<() => Promise<void>> {
  mkdirSync(path, { recursive: true });
  const server = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', import.meta.filename, path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(server, 'exit');
  const end = cleanUpLater(`silent folder ${path}`, async () => {
    server.kill('SIGKILL');
    await ended;
    execFileSync('umount', ['--lazy', path]);
  });
  await Promise.race([
    once(server.stdout, 'data'),
    ended.then(() => Promise.reject(new Error('expected a server, found it ended'))),
  ]);
  return end;
}

function serve(path: string): void {
  const fd = openSync('/dev/fuse', 'r+');
  const options = 'fd=3,rootmode=40000,user_id=0,group_id=0,allow_other';
  execFileSync('mount', ['-i', '-t', 'fuse', '-o', options, 'silent', path], {
    stdio: ['ignore', 'ignore', 'inherit', fd],
  });
  process.stdout.write('mounted\n');
  const question = Buffer.alloc(1 << 20);
  for (;;) {
    readSync(fd, question, 0, question.length, null);
    if (question.readUInt32LE(4) === FUSE_INIT) writeSync(fd, welcome(question));
  }
}

/** The answer without which the kernel asks nothing else. */
function welcome(question: Buffer): Buffer {
  const answer = Buffer.alloc(OUT_HEADER_BYTES + INIT_OUT_BYTES);
  answer.writeUInt32LE(answer.length, 0);
  question.copy(answer, 8, 8, 16);
  const body = answer.subarray(OUT_HEADER_BYTES);
  // Its version, that of the kernel's question; and how much is written at once.
  question.copy(body, 0, IN_HEADER_BYTES, IN_HEADER_BYTES + 8);
  body.writeUInt32LE(4096, 20);
  return answer;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) serve(process.argv[2] ?? '');
