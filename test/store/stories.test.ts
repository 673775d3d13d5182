import { storiesOn } from './stories.ts';

storiesOn('28.5');
