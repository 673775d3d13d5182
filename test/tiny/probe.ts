import '../../agent/tiny/globals.ts';
import { TinyBuffer } from '../../agent/tiny/buffer.ts';
import { isSignedBy } from '../../agent/system/signed-by.ts';
import * as fs from '../../agent/tiny/fs.ts';
import * as path from '../../agent/tiny/path.ts';
import { process } from '../../agent/tiny/process.ts';
import { mayHaveMoreValues } from '../../agent/tiny/more-values.ts';
import { isPlainPath } from '../../agent/tiny/plain-path.ts';
import { isSha256Digest } from '../../agent/tiny/sha256-digest.ts';
import { parseStrictly } from '../../agent/tiny/strict-json.ts';
import { answers, type Question } from './questions.ts';

/** Answers, on the small engine, the questions that standard input has. */
const questions = JSON.parse(fs.readFileSync(0, 'utf8')) as readonly Question[];
const { createHash } = process.getBuiltinModule('node:crypto');
const sha256 = (content: string | Uint8Array): string => createHash('sha256').update(content).digest().toString('hex');
process.stdout.write(
  JSON.stringify(
    answers(questions, {
      path,
      fs,
      Buffer: TinyBuffer,
      sha256,
      isSha256Digest,
      isPlainPath,
      mayHaveMoreValues,
      parseStrictly,
      isSignedBy,
    }),
  ),
);
process.exitCode = 0;
