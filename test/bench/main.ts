import { parseArgs } from 'node:util';
import { benchBuild } from './build.ts';

const HELP = `npm run bench -- build [--size MB] [--rounds N] [--json FILE]

Measures side by side, in one run and in turns, what takes an image archive to a qcow2 disk:
  build            docker-preloader build
  tar + mke2fs     tar -x of the archive and all layers, mke2fs -d, qemu-img convert
  engine docker    docker-preloader build --engine docker: a private dockerd, docker load, copy, qemu-img convert

  --size MB        the image's size, from this machine's own files (default 850)
  --rounds N       rounds of each (default 3)
  --json FILE      writes the figures there, too`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { size: { type: 'string', default: '850' }, rounds: { type: 'string', default: '3' }, json: { type: 'string' }, help: { type: 'boolean', default: false } },
});
const [sizeMb, rounds] = [Number(values.size), Number(values.rounds)];
if (values.help) console.log(HELP);
else if (positionals.join(' ') !== 'build' || !(sizeMb >= 1) || !Number.isInteger(rounds) || rounds < 1) {
  console.error(`docker-preloader bench: 'build', a size of at least 1 and a whole number of rounds expected, found '${process.argv.slice(2).join(' ')}'; --help tells more`);
  process.exitCode = 2;
} else {
  try {
    await benchBuild({ sizeMb, rounds, jsonFile: values.json });
  } catch (error) {
    console.error(`docker-preloader bench: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
