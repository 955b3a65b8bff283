import { runService } from '@sluice/service';
import { allocatorService } from './allocator.service.js';

await runService(() => allocatorService());
