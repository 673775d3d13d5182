import '../../agent/tiny/globals.ts';
import { GrpcConnection } from '../../agent/containerd/api/grpc.ts';
import * as fs from '../../agent/tiny/fs.ts';
import { process } from '../../agent/tiny/process.ts';
import { grpcAnswers, type GrpcQuestion } from './grpc-questions.ts';

/** Asks on the small engine what standard input has, and tells what the answers were, and what that took of memory. */
const questions = JSON.parse(fs.readFileSync(0, 'utf8')) as readonly GrpcQuestion[];
const { createHash } = process.getBuiltinModule('node:crypto');
void grpcAnswers(questions, {
  open: (path, timeoutMs) => GrpcConnection.open(path, timeoutMs),
  message: (bytes) => Buffer.alloc(bytes),
  sha256: (content) => createHash('sha256').update(content).digest().toString('hex'),
}).then((answers) => {
  const peakKb = Number(/^VmHWM:\s+(\d+)/m.exec(fs.readFileSync('/proc/self/status', 'utf8'))?.[1]);
  process.stdout.write(JSON.stringify({ answers, peakKb }));
  process.exit(0);
});
