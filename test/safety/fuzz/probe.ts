import '../../../agent/tiny/globals.ts';
import * as fs from '../../../agent/tiny/fs.ts';
import { process } from '../../../agent/tiny/process.ts';
import { take, type Given } from './taking.ts';

/** Takes, on the small engine, the disks that standard input names. */
const all = JSON.parse(fs.readFileSync(0, 'utf8')) as readonly Given[];
const told: unknown[] = [];
for (const given of all) told.push(await take(given));
process.stdout.write(JSON.stringify(told));
process.exitCode = 0;
