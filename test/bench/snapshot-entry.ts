// The main script of a Node that starts from a snapshot: what `run` needs up to READY is evaluated when the snapshot is
// taken, and the program begins where it is started from.
import { startupSnapshot } from 'node:v8';
import '../../agent/commands/run.ts';

startupSnapshot.setDeserializeMainFunction(() => {
  void import('../../agent/main.ts');
});
