import { readFileSync } from 'node:fs';
import { isSignedBy } from '../../agent/system/signed-by.ts';
import type { Question } from './questions.ts';

/** Answers the questions on signatures that standard input has, on the runtime that this is run by. */
const questions = JSON.parse(readFileSync(0, 'utf8')) as readonly Extract<Question, { ask: 'signed' }>[];
const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
process.stdout.write(
  JSON.stringify(
    questions.map(({ by, message, signature }) => isSignedBy(bytes(by), bytes(message), bytes(signature))),
  ),
);
