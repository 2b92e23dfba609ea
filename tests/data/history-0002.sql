PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO alembic_version VALUES('0002');
CREATE TABLE host (
	id INTEGER NOT NULL, 
	fingerprint VARCHAR(64) NOT NULL, 
	name VARCHAR NOT NULL, 
	facts JSON NOT NULL, 
	CONSTRAINT pk_host PRIMARY KEY (id), 
	CONSTRAINT uq_host_fingerprint UNIQUE (fingerprint)
);
INSERT INTO host VALUES(1,'0000000000000000000000000000000000000000000000000000000000000001','example','{}');
CREATE TABLE run (
	id INTEGER NOT NULL, 
	flow VARCHAR NOT NULL, 
	flow_run_id VARCHAR, 
	attempt INTEGER NOT NULL, 
	deployment VARCHAR, 
	via VARCHAR NOT NULL, 
	host_id INTEGER NOT NULL, 
	boot_id VARCHAR NOT NULL, 
	pid INTEGER NOT NULL, 
	pid_start BIGINT NOT NULL, 
	code_version VARCHAR NOT NULL, 
	parameters JSON NOT NULL, 
	covariates JSON NOT NULL, 
	status VARCHAR NOT NULL, 
	error VARCHAR, 
	started_at DATETIME NOT NULL, 
	finished_at DATETIME, 
	CONSTRAINT pk_run PRIMARY KEY (id), 
	CONSTRAINT fk_run_host_id_host FOREIGN KEY(host_id) REFERENCES host (id), 
	CONSTRAINT uq_run_flow_run_id_attempt UNIQUE (flow_run_id, attempt)
);
INSERT INTO run VALUES(1,'encrypt_payloads',NULL,1,NULL,'direct',1,'00000000-0000-0000-0000-000000000002/4026531836',14893,1365461,'0.1.0','{"random": "100x2", "suites": ["modern", "classic"], "backends": ["auto"], "jobs": 2, "key": "throw-away"}','{"kernel": "6.1", "python": "3.11.7", "load_1m": 0.7}','completed',NULL,'2026-11-22 19:37:04.908696','2026-11-22 19:37:04.994367');
INSERT INTO run VALUES(2,'encrypt_payloads',NULL,1,NULL,'direct',1,'00000000-0000-0000-0000-000000000002/4026531836',14920,1365650,'0.1.0','{"random": "10485760x1", "suites": ["classic"], "backends": ["auto"], "jobs": 2, "key": "throw-away"}','{"kernel": "6.1", "python": "3.11.7", "load_1m": 0.7}','failed','1 failed: random #1 (suite classic takes at most 8 MiB (its 64-bit blocks begin to collide); use suite modern, or --allow-legacy-size)','2026-11-22 19:37:06.186607','2026-11-22 19:37:06.232135');
INSERT INTO run VALUES(3,'run_experiments',NULL,1,NULL,'direct',1,'00000000-0000-0000-0000-000000000002/4026531836',14948,1365767,'0.1.0','{"experiments": ["race"], "workloads": [], "executors": [], "shapes": ["augmented"], "guards": ["none", "shard"], "workers": [2], "quick": true, "interpreters": ["3.11.7"], "rounds": 2, "seed": 3114657792}','{"kernel": "6.1", "python": "3.11.7", "load_1m": 0.7}','completed',NULL,'2026-11-22 19:37:07.589127','2026-11-22 19:37:13.389987');
CREATE TABLE encryption (
	id INTEGER NOT NULL, 
	run_id INTEGER NOT NULL, 
	ordinal INTEGER NOT NULL, 
	name VARCHAR NOT NULL, 
	name_bytes BLOB, 
	kind VARCHAR NOT NULL, 
	size_bytes BIGINT, 
	ciphertext_bytes BIGINT, 
	suite VARCHAR NOT NULL, 
	cipher VARCHAR NOT NULL, 
	digest_algorithm VARCHAR NOT NULL, 
	kdf VARCHAR NOT NULL, 
	iterations INTEGER NOT NULL, 
	salt BLOB, 
	digest BLOB, 
	backend VARCHAR NOT NULL, 
	backend_detail VARCHAR NOT NULL, 
	backend_reason VARCHAR NOT NULL, 
	status VARCHAR NOT NULL, 
	cause VARCHAR, 
	error VARCHAR, 
	started_at DATETIME NOT NULL, 
	wall_ns BIGINT NOT NULL, 
	CONSTRAINT pk_encryption PRIMARY KEY (id), 
	CONSTRAINT fk_encryption_run_id_run FOREIGN KEY(run_id) REFERENCES run (id), 
	CONSTRAINT uq_encryption_run_id_ordinal UNIQUE (run_id, ordinal)
);
INSERT INTO encryption VALUES(1,1,0,'random #1',NULL,'random',100,116,'modern','aes-256-ctr','sha256','pbkdf2-hmac-sha256',1,X'dc0ac0c070e779b2',X'54e1d47000b9e78d17a3253f2581b7cdd9f180266d49835c7a39a53b0149be2e','openssl','OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19 27 Jan 2026) (/usr/bin/openssl)','openssl can run this suite','ok',NULL,NULL,'2026-11-22 19:37:04.920686',14095726);
INSERT INTO encryption VALUES(2,1,1,'random #2',NULL,'random',100,116,'modern','aes-256-ctr','sha256','pbkdf2-hmac-sha256',1,X'e855a49173b1aadd',X'f694e02a3117d229755ebbdb2a2dbf65491a1a9a6a132d54bc75ef350989de55','openssl','OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19 27 Jan 2026) (/usr/bin/openssl)','openssl can run this suite','ok',NULL,NULL,'2026-11-22 19:37:04.934805',14157152);
INSERT INTO encryption VALUES(3,1,2,'random #1',NULL,'random',100,120,'classic','des-ede3-cbc','whirlpool','evp-bytestokey-sha256',1,X'ea9e2aff73dffcdd',X'1d00368de7331499c5aeffe5e23bc4aaf642268bbbffa4dece1b738a101f6e5bb00f6d7f223362d3ff161c3f15058387967cea0733db44c56a480d2b2770e6e5','openssl','OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19 27 Jan 2026) (/usr/bin/openssl)','openssl can run this suite','ok',NULL,NULL,'2026-11-22 19:37:04.959653',16543871);
INSERT INTO encryption VALUES(4,1,3,'random #2',NULL,'random',100,120,'classic','des-ede3-cbc','whirlpool','evp-bytestokey-sha256',1,X'2ff0c6f6ad226177',X'18bbab935c96839677cd5738f47a488622202e4b6aa644579427d01eb0efade1eeb516e1b9fbb26d012ba4d4749ca0bbea4bb4e8ed64d984289cc2ae650e8d84','openssl','OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19 27 Jan 2026) (/usr/bin/openssl)','openssl can run this suite','ok',NULL,NULL,'2026-11-22 19:37:04.976218',15226174);
INSERT INTO encryption VALUES(5,2,0,'random #1',NULL,'random',10485760,NULL,'classic','des-ede3-cbc','whirlpool','evp-bytestokey-sha256',1,NULL,NULL,'openssl','OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19 27 Jan 2026) (/usr/bin/openssl)','openssl can run this suite','failed','legacy-size','suite classic takes at most 8 MiB (its 64-bit blocks begin to collide); use suite modern, or --allow-legacy-size','2026-11-22 19:37:06.189555',37554254);
CREATE TABLE stage (
	id INTEGER NOT NULL, 
	encryption_id INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	program VARCHAR NOT NULL, 
	exit_code INTEGER NOT NULL, 
	wall_ns BIGINT NOT NULL, 
	cpu_ns BIGINT NOT NULL, 
	CONSTRAINT pk_stage PRIMARY KEY (id), 
	CONSTRAINT fk_stage_encryption_id_encryption FOREIGN KEY(encryption_id) REFERENCES encryption (id) ON DELETE CASCADE, 
	CONSTRAINT uq_stage_encryption_id_position UNIQUE (encryption_id, position)
);
INSERT INTO stage VALUES(1,1,0,'openssl enc',0,10113884,6975000);
INSERT INTO stage VALUES(2,1,1,'openssl dgst',0,11522524,5339000);
INSERT INTO stage VALUES(3,2,0,'openssl enc',0,8252998,6613000);
INSERT INTO stage VALUES(4,2,1,'openssl dgst',0,9810280,5302000);
INSERT INTO stage VALUES(5,3,0,'openssl enc',0,10174700,6496000);
INSERT INTO stage VALUES(6,3,1,'openssl dgst',0,10039292,5660000);
INSERT INTO stage VALUES(7,4,0,'openssl enc',0,10745999,6336000);
INSERT INTO stage VALUES(8,4,1,'openssl dgst',0,8350235,3969000);
CREATE TABLE IF NOT EXISTS "case" (
	id INTEGER NOT NULL, 
	"key" VARCHAR NOT NULL, 
	workload_version VARCHAR(64) NOT NULL, 
	experiment VARCHAR NOT NULL, 
	executor VARCHAR, 
	workload VARCHAR, 
	shape VARCHAR, 
	guard VARCHAR, 
	workers INTEGER NOT NULL, 
	count INTEGER NOT NULL, 
	CONSTRAINT pk_case PRIMARY KEY (id), 
	CONSTRAINT uq_case_key_workload_version UNIQUE ("key", workload_version)
);
INSERT INTO "case" VALUES(1,'ceiling/2x2','e19b2af230b7b0062c767e0ae55f0ba3f1165ef751981c64290b9d6a317d2a3a','ceiling',NULL,NULL,NULL,NULL,2,2);
INSERT INTO "case" VALUES(2,'ceiling/1x2','e19b2af230b7b0062c767e0ae55f0ba3f1165ef751981c64290b9d6a317d2a3a','ceiling',NULL,NULL,NULL,NULL,1,2);
INSERT INTO "case" VALUES(3,'race/none/augmented/5x1000000','e19b2af230b7b0062c767e0ae55f0ba3f1165ef751981c64290b9d6a317d2a3a','race',NULL,NULL,'augmented','none',5,1000000);
INSERT INTO "case" VALUES(4,'race/shard/5x500000','e19b2af230b7b0062c767e0ae55f0ba3f1165ef751981c64290b9d6a317d2a3a','race',NULL,NULL,NULL,'shard',5,500000);
CREATE TABLE interpreter (
	id INTEGER NOT NULL, 
	fingerprint VARCHAR(64) NOT NULL, 
	label VARCHAR NOT NULL, 
	version VARCHAR NOT NULL, 
	implementation VARCHAR NOT NULL, 
	gil_build BOOLEAN NOT NULL, 
	facts JSON NOT NULL, 
	CONSTRAINT pk_interpreter PRIMARY KEY (id), 
	CONSTRAINT uq_interpreter_fingerprint UNIQUE (fingerprint)
);
INSERT INTO interpreter VALUES(1,'0000000000000000000000000000000000000000000000000000000000000002','3.11.7','3.11.7','cpython',1,'{}');
CREATE TABLE sample (
	id INTEGER NOT NULL, 
	run_id INTEGER NOT NULL, 
	ordinal INTEGER NOT NULL, 
	case_id INTEGER NOT NULL, 
	interpreter_id INTEGER NOT NULL, 
	round INTEGER NOT NULL, 
	started_at DATETIME NOT NULL, 
	outcome VARCHAR NOT NULL, 
	expected VARCHAR, 
	found VARCHAR, 
	error VARCHAR, 
	wall_ns BIGINT, 
	cpu_ns BIGINT, 
	runq_ns BIGINT, 
	blocked_ns BIGINT, 
	context_switches BIGINT, 
	gil_on BOOLEAN, 
	foreign_share FLOAT, 
	positive_lost BIGINT, 
	negative_lost BIGINT, 
	noisy BOOLEAN NOT NULL, 
	CONSTRAINT pk_sample PRIMARY KEY (id), 
	CONSTRAINT fk_sample_case_id_case FOREIGN KEY(case_id) REFERENCES "case" (id), 
	CONSTRAINT fk_sample_interpreter_id_interpreter FOREIGN KEY(interpreter_id) REFERENCES interpreter (id), 
	CONSTRAINT fk_sample_run_id_run FOREIGN KEY(run_id) REFERENCES run (id), 
	CONSTRAINT uq_sample_run_id_ordinal UNIQUE (run_id, ordinal)
);
INSERT INTO sample VALUES(1,3,0,1,1,0,'2026-11-22 19:37:07.594219','ok','1 101 21179 2139079; 1 101 21179 2139079','1 101 21179 2139079; 1 101 21179 2139079',NULL,540272977,557527000,458499063,54968,144,1,0.4829868898104374697,NULL,NULL,1);
INSERT INTO sample VALUES(2,3,1,1,1,0,'2026-11-22 19:37:08.196932','ok','1 101 21179 2139079; 1 101 21179 2139079','1 101 21179 2139079; 1 101 21179 2139079',NULL,424884400,408797001,434100935,0,178,1,0.53042269333893876659,NULL,NULL,1);
INSERT INTO sample VALUES(3,3,2,2,1,0,'2026-11-22 19:37:08.697455','ok','1 101 21179 2139079','1 101 21179 2139079',NULL,217012611,213401000,5291207,0,38,1,0.49722231645615722062,NULL,NULL,0);
INSERT INTO sample VALUES(4,3,3,3,1,0,'2026-11-22 19:37:08.958199','none-observed','5000000','5000000',NULL,419436631,393306000,217692371,1276145721,679,1,0.49673057763998679225,2285516,0,1);
INSERT INTO sample VALUES(5,3,4,4,1,0,'2026-11-22 19:37:10.154637','ok','2500000','2500000',NULL,319397107,282934001,150388035,951811193,826,1,0.37111481883272035009,NULL,NULL,1);
INSERT INTO sample VALUES(6,3,5,4,1,0,'2026-11-22 19:37:10.513305','ok','2500000','2500000',NULL,261701043,258176001,46100749,840465308,457,1,0.079907971555161133592,NULL,NULL,0);
INSERT INTO sample VALUES(7,3,100000,1,1,1,'2026-11-22 19:37:10.836641','ok','1 101 21179 2139079; 1 101 21179 2139079','1 101 21179 2139079; 1 101 21179 2139079',NULL,346929880,512341001,50227819,54828,67,1,0.082824850405466998726,NULL,NULL,0);
INSERT INTO sample VALUES(8,3,100001,2,1,1,'2026-11-22 19:37:11.233255','ok','1 101 21179 2139079','1 101 21179 2139079',NULL,313285205,313721000,1836495,5878,7,1,0.041789069462774330876,NULL,NULL,0);
INSERT INTO sample VALUES(9,3,100002,4,1,1,'2026-11-22 19:37:11.603651','ok','2500000','2500000',NULL,243827053,244371999,47840713,773954945,396,1,0.052553645472637522395,NULL,NULL,0);
INSERT INTO sample VALUES(10,3,100003,3,1,1,'2026-11-22 19:37:11.882682','none-observed','5000000','5000000',NULL,512194180,514004000,77975578,1840228586,805,1,0.074186707861459880164,2505345,0,0);
CREATE INDEX ix_run_running ON run (host_id) WHERE status = 'running';
CREATE INDEX ix_run_started_at ON run (started_at);
CREATE INDEX ix_encryption_failed ON encryption (started_at) WHERE status IN ('failed', 'unstable');
CREATE INDEX ix_encryption_name_started_at ON encryption (name, started_at);
CREATE INDEX ix_encryption_started_at ON encryption (started_at);
CREATE INDEX ix_encryption_suite_started_at ON encryption (suite, started_at);
CREATE INDEX ix_sample_series ON sample (case_id, interpreter_id, started_at);
CREATE INDEX ix_sample_started_at ON sample (started_at);
COMMIT;
