BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('1000');
CREATE TABLE "case" (
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
CREATE TABLE day_summary (
	id INTEGER NOT NULL, 
	series_id INTEGER NOT NULL, 
	day DATE NOT NULL, 
	runs INTEGER NOT NULL, 
	n INTEGER NOT NULL, 
	failed INTEGER NOT NULL, 
	noisy INTEGER NOT NULL, 
	size_bytes BIGINT, 
	lower_ns FLOAT, 
	median_ns FLOAT, 
	upper_ns FLOAT, 
	CONSTRAINT pk_day_summary PRIMARY KEY (id), 
	CONSTRAINT uq_day_summary_series_id_day UNIQUE (series_id, day), 
	CONSTRAINT fk_day_summary_series_id_series FOREIGN KEY(series_id) REFERENCES series (id)
);
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
	vault_id INTEGER, 
	pack BLOB, 
	CONSTRAINT pk_encryption PRIMARY KEY (id), 
	CONSTRAINT uq_encryption_run_id_ordinal UNIQUE (run_id, ordinal), 
	CONSTRAINT fk_encryption_run_id_run FOREIGN KEY(run_id) REFERENCES run (id), 
	CONSTRAINT fk_encryption_vault_id_vault FOREIGN KEY(vault_id) REFERENCES vault (id)
);
INSERT INTO "encryption" VALUES(1,1,0,'random #1',NULL,'random',100,116,'modern','aes-256-ctr','sha256','pbkdf2-hmac-sha256',1,X'DC0AC0C070E779B2',X'54E1D47000B9E78D17A3253F2581B7CDD9F180266D49835C7A39A53B0149BE2E','openssl','OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19 27 Jan 2026) (/usr/bin/openssl)','openssl can run this suite','ok',NULL,NULL,'2026-11-22 19:37:04.920686',14095726,NULL,NULL);
INSERT INTO "encryption" VALUES(2,1,1,'random #2',NULL,'random',100,116,'modern','aes-256-ctr','sha256','pbkdf2-hmac-sha256',1,X'E855A49173B1AADD',X'F694E02A3117D229755EBBDB2A2DBF65491A1A9A6A132D54BC75EF350989DE55','openssl','OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19 27 Jan 2026) (/usr/bin/openssl)','openssl can run this suite','ok',NULL,NULL,'2026-11-22 19:37:04.934805',14157152,NULL,NULL);
INSERT INTO "encryption" VALUES(3,1,2,'random #1',NULL,'random',100,120,'classic','des-ede3-cbc','whirlpool','evp-bytestokey-sha256',1,X'EA9E2AFF73DFFCDD',X'1D00368DE7331499C5AEFFE5E23BC4AAF642268BBBFFA4DECE1B738A101F6E5BB00F6D7F223362D3FF161C3F15058387967CEA0733DB44C56A480D2B2770E6E5','openssl','OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19 27 Jan 2026) (/usr/bin/openssl)','openssl can run this suite','ok',NULL,NULL,'2026-11-22 19:37:04.959653',16543871,NULL,NULL);
INSERT INTO "encryption" VALUES(4,1,3,'random #2',NULL,'random',100,120,'classic','des-ede3-cbc','whirlpool','evp-bytestokey-sha256',1,X'2FF0C6F6AD226177',X'18BBAB935C96839677CD5738F47A488622202E4B6AA644579427D01EB0EFADE1EEB516E1B9FBB26D012BA4D4749CA0BBEA4BB4E8ED64D984289CC2AE650E8D84','openssl','OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19 27 Jan 2026) (/usr/bin/openssl)','openssl can run this suite','ok',NULL,NULL,'2026-11-22 19:37:04.976218',15226174,NULL,NULL);
INSERT INTO "encryption" VALUES(5,2,0,'random #1',NULL,'random',10485760,NULL,'classic','des-ede3-cbc','whirlpool','evp-bytestokey-sha256',1,NULL,NULL,'openssl','OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19 27 Jan 2026) (/usr/bin/openssl)','openssl can run this suite','failed','legacy-size','suite classic takes at most 8 MiB (its 64-bit blocks begin to collide); use suite modern, or --allow-legacy-size','2026-11-22 19:37:06.189555',37554254,NULL,NULL);
CREATE TABLE host (
	id INTEGER NOT NULL, 
	fingerprint VARCHAR(64) NOT NULL, 
	name VARCHAR NOT NULL, 
	facts JSON NOT NULL, 
	CONSTRAINT pk_host PRIMARY KEY (id), 
	CONSTRAINT uq_host_fingerprint UNIQUE (fingerprint)
);
INSERT INTO "host" VALUES(1,'0000000000000000000000000000000000000000000000000000000000000001','example','{}');
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
INSERT INTO "interpreter" VALUES(1,'0000000000000000000000000000000000000000000000000000000000000002','3.11.7','3.11.7','cpython',1,'{}');
CREATE TABLE ledger (
	id INTEGER NOT NULL, 
	kind VARCHAR NOT NULL, 
	run_id INTEGER NOT NULL, 
	format INTEGER NOT NULL, 
	digests JSON NOT NULL, 
	sealed_at DATETIME NOT NULL, 
	head VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_ledger PRIMARY KEY (id)
);
INSERT INTO "ledger" VALUES(1,'sealed',1,1,'{"run": "1 355814b64e17b53545d746fd0d63dd7539e4bb74255840007b7939cfb214be66", "encryption": "4 0314f592e636fe7f245b47c9783b6eb8286f669d00ad665575eda3ae779d450f", "stage": "8 38b83c6c708cab4576b678b19a9fbbd7a57a279f631dbb1d3259d6dec68ebabe", "sample": "0 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "snapshot": "0 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "verdict": "0 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}','2026-11-28 11:32:39.767990','67a08c9aedca5e497e2ecb492c1329374bfd3e1ac954efa56333ef1f75f718c8');
INSERT INTO "ledger" VALUES(2,'sealed',2,1,'{"run": "1 76b9a2b94f9ab343c1640516e1df40558ba0fe7841291a6412f5a505ff262299", "encryption": "1 1a76880038bf746de0c8ef880b210c217b31241fa908c595333327b4b004d326", "stage": "0 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "sample": "0 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "snapshot": "0 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "verdict": "0 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}','2026-11-28 11:32:39.774489','a41b380ecae7793ed072d38bea1770ccdc9e0841b9a4c4880fae62efe2808fe1');
INSERT INTO "ledger" VALUES(3,'sealed',3,1,'{"run": "1 7808d013b941f7584da092907c8e3cec8b9eff1cee4393dcaa87e8cdb0c81de1", "encryption": "0 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "stage": "0 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "sample": "10 2630a508b10d106b58fe9d931be4cf40a548509bfa1203e4bb0aa826bccf66fc", "snapshot": "0 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "verdict": "0 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}','2026-11-28 11:32:39.781362','4a8c5aaac28c14be54dd2695b893e0a3635b6b9e1ec376d3343670b7a809e960');
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
	heard_at DATETIME, 
	code_version VARCHAR NOT NULL, 
	parameters JSON NOT NULL, 
	usable_cpus INTEGER NOT NULL, 
	quota_cpus FLOAT, 
	smt BOOLEAN, 
	covariates JSON NOT NULL, 
	status VARCHAR NOT NULL, 
	error VARCHAR, 
	started_at DATETIME NOT NULL, 
	finished_at DATETIME, 
	CONSTRAINT pk_run PRIMARY KEY (id), 
	CONSTRAINT uq_run_flow_run_id_attempt UNIQUE (flow_run_id, attempt), 
	CONSTRAINT fk_run_host_id_host FOREIGN KEY(host_id) REFERENCES host (id)
);
INSERT INTO "run" VALUES(1,'encrypt_payloads',NULL,1,NULL,'direct',1,'00000000-0000-0000-0000-000000000002/4026531836',14893,1365461,NULL,'0.1.0','{"random": "100x2", "suites": ["modern", "classic"], "backends": ["auto"], "jobs": 2, "key": "throw-away"}',2,NULL,NULL,'{"kernel": "6.1", "python": "3.11.7", "load_1m": 0.7}','completed',NULL,'2026-11-22 19:37:04.908696','2026-11-22 19:37:04.994367');
INSERT INTO "run" VALUES(2,'encrypt_payloads',NULL,1,NULL,'direct',1,'00000000-0000-0000-0000-000000000002/4026531836',14920,1365650,NULL,'0.1.0','{"random": "10485760x1", "suites": ["classic"], "backends": ["auto"], "jobs": 2, "key": "throw-away"}',2,NULL,NULL,'{"kernel": "6.1", "python": "3.11.7", "load_1m": 0.7}','failed','1 failed: random #1 (suite classic takes at most 8 MiB (its 64-bit blocks begin to collide); use suite modern, or --allow-legacy-size)','2026-11-22 19:37:06.186607','2026-11-22 19:37:06.232135');
INSERT INTO "run" VALUES(3,'run_experiments',NULL,1,NULL,'direct',1,'00000000-0000-0000-0000-000000000002/4026531836',14948,1365767,NULL,'0.1.0','{"experiments": ["race"], "workloads": [], "executors": [], "shapes": ["augmented"], "guards": ["none", "shard"], "workers": [2], "quick": true, "interpreters": ["3.11.7"], "rounds": 2, "seed": 3114657792}',2,NULL,NULL,'{"kernel": "6.1", "python": "3.11.7", "load_1m": 0.7}','completed',NULL,'2026-11-22 19:37:07.589127','2026-11-22 19:37:13.389987');
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
	throttled_ns BIGINT, 
	stolen_ns BIGINT, 
	context_switches BIGINT, 
	gil_on BOOLEAN, 
	foreign_share FLOAT, 
	positive_lost BIGINT, 
	negative_lost BIGINT, 
	noisy BOOLEAN NOT NULL, 
	noise VARCHAR, 
	CONSTRAINT pk_sample PRIMARY KEY (id), 
	CONSTRAINT uq_sample_run_id_ordinal UNIQUE (run_id, ordinal), 
	CONSTRAINT fk_sample_run_id_run FOREIGN KEY(run_id) REFERENCES run (id), 
	CONSTRAINT fk_sample_case_id_case FOREIGN KEY(case_id) REFERENCES "case" (id), 
	CONSTRAINT fk_sample_interpreter_id_interpreter FOREIGN KEY(interpreter_id) REFERENCES interpreter (id)
);
INSERT INTO "sample" VALUES(1,3,0,1,1,0,'2026-11-22 19:37:07.594219','ok','1 101 21179 2139079; 1 101 21179 2139079','1 101 21179 2139079; 1 101 21179 2139079',NULL,540272977,557527000,458499063,54968,NULL,NULL,144,1,4.82986889810437469705e-01,NULL,NULL,1,NULL);
INSERT INTO "sample" VALUES(2,3,1,1,1,0,'2026-11-22 19:37:08.196932','ok','1 101 21179 2139079; 1 101 21179 2139079','1 101 21179 2139079; 1 101 21179 2139079',NULL,424884400,408797001,434100935,0,NULL,NULL,178,1,5.30422693338938766594e-01,NULL,NULL,1,NULL);
INSERT INTO "sample" VALUES(3,3,2,2,1,0,'2026-11-22 19:37:08.697455','ok','1 101 21179 2139079','1 101 21179 2139079',NULL,217012611,213401000,5291207,0,NULL,NULL,38,1,4.97222316456157220621e-01,NULL,NULL,0,NULL);
INSERT INTO "sample" VALUES(4,3,3,3,1,0,'2026-11-22 19:37:08.958199','none-observed','5000000','5000000',NULL,419436631,393306000,217692371,1276145721,NULL,NULL,679,1,4.96730577639986792259e-01,2285516,0,1,NULL);
INSERT INTO "sample" VALUES(5,3,4,4,1,0,'2026-11-22 19:37:10.154637','ok','2500000','2500000',NULL,319397107,282934001,150388035,951811193,NULL,NULL,826,1,3.71114818832720350094e-01,NULL,NULL,1,NULL);
INSERT INTO "sample" VALUES(6,3,5,4,1,0,'2026-11-22 19:37:10.513305','ok','2500000','2500000',NULL,261701043,258176001,46100749,840465308,NULL,NULL,457,1,7.99079715551611335921e-02,NULL,NULL,0,NULL);
INSERT INTO "sample" VALUES(7,3,100000,1,1,1,'2026-11-22 19:37:10.836641','ok','1 101 21179 2139079; 1 101 21179 2139079','1 101 21179 2139079; 1 101 21179 2139079',NULL,346929880,512341001,50227819,54828,NULL,NULL,67,1,0.082824850405467,NULL,NULL,0,NULL);
INSERT INTO "sample" VALUES(8,3,100001,2,1,1,'2026-11-22 19:37:11.233255','ok','1 101 21179 2139079','1 101 21179 2139079',NULL,313285205,313721000,1836495,5878,NULL,NULL,7,1,4.17890694627743308764e-02,NULL,NULL,0,NULL);
INSERT INTO "sample" VALUES(9,3,100002,4,1,1,'2026-11-22 19:37:11.603651','ok','2500000','2500000',NULL,243827053,244371999,47840713,773954945,NULL,NULL,396,1,5.25536454726375223955e-02,NULL,NULL,0,NULL);
INSERT INTO "sample" VALUES(10,3,100003,3,1,1,'2026-11-22 19:37:11.882682','none-observed','5000000','5000000',NULL,512194180,514004000,77975578,1840228586,NULL,NULL,805,1,7.41867078614598801644e-02,2505345,0,0,NULL);
CREATE TABLE series (
	id INTEGER NOT NULL, 
	"key" VARCHAR NOT NULL, 
	track VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	host_id INTEGER NOT NULL, 
	case_id INTEGER, 
	interpreter_id INTEGER, 
	suite VARCHAR, 
	backend VARCHAR, 
	size_class BIGINT, 
	kept BOOLEAN DEFAULT 0 NOT NULL, 
	usable_cpus INTEGER NOT NULL, 
	quota_cpus FLOAT, 
	smt BOOLEAN, 
	CONSTRAINT pk_series PRIMARY KEY (id), 
	CONSTRAINT uq_series_key UNIQUE ("key"), 
	CONSTRAINT fk_series_host_id_host FOREIGN KEY(host_id) REFERENCES host (id), 
	CONSTRAINT fk_series_case_id_case FOREIGN KEY(case_id) REFERENCES "case" (id), 
	CONSTRAINT fk_series_interpreter_id_interpreter FOREIGN KEY(interpreter_id) REFERENCES interpreter (id)
);
INSERT INTO "series" VALUES(1,'["modern", "openssl", 128, "discarded", "0000000000000000000000000000000000000000000000000000000000000001", 2, null, null]','["encryption", "modern", "openssl", 128, "discarded", 2, null, null, "example"]','encryption',1,NULL,NULL,'modern','openssl',128,0,2,NULL,NULL);
INSERT INTO "series" VALUES(2,'["classic", "openssl", 128, "discarded", "0000000000000000000000000000000000000000000000000000000000000001", 2, null, null]','["encryption", "classic", "openssl", 128, "discarded", 2, null, null, "example"]','encryption',1,NULL,NULL,'classic','openssl',128,0,2,NULL,NULL);
INSERT INTO "series" VALUES(3,'["classic", "openssl", 16777216, "discarded", "0000000000000000000000000000000000000000000000000000000000000001", 2, null, null]','["encryption", "classic", "openssl", 16777216, "discarded", 2, null, null, "example"]','encryption',1,NULL,NULL,'classic','openssl',16777216,0,2,NULL,NULL);
INSERT INTO "series" VALUES(4,'["ceiling/2x2", "e19b2af230b7b0062c767e0ae55f0ba3f1165ef751981c64290b9d6a317d2a3a", "0000000000000000000000000000000000000000000000000000000000000002", "0000000000000000000000000000000000000000000000000000000000000001", 2, null, null]','["sample", "ceiling/2x2", "3.11", 2, null, null, "example"]','sample',1,1,1,NULL,NULL,NULL,0,2,NULL,NULL);
INSERT INTO "series" VALUES(5,'["ceiling/1x2", "e19b2af230b7b0062c767e0ae55f0ba3f1165ef751981c64290b9d6a317d2a3a", "0000000000000000000000000000000000000000000000000000000000000002", "0000000000000000000000000000000000000000000000000000000000000001", 2, null, null]','["sample", "ceiling/1x2", "3.11", 2, null, null, "example"]','sample',1,2,1,NULL,NULL,NULL,0,2,NULL,NULL);
INSERT INTO "series" VALUES(6,'["race/none/augmented/5x1000000", "e19b2af230b7b0062c767e0ae55f0ba3f1165ef751981c64290b9d6a317d2a3a", "0000000000000000000000000000000000000000000000000000000000000002", "0000000000000000000000000000000000000000000000000000000000000001", 2, null, null]','["sample", "race/none/augmented/5x1000000", "3.11", 2, null, null, "example"]','sample',1,3,1,NULL,NULL,NULL,0,2,NULL,NULL);
INSERT INTO "series" VALUES(7,'["race/shard/5x500000", "e19b2af230b7b0062c767e0ae55f0ba3f1165ef751981c64290b9d6a317d2a3a", "0000000000000000000000000000000000000000000000000000000000000002", "0000000000000000000000000000000000000000000000000000000000000001", 2, null, null]','["sample", "race/shard/5x500000", "3.11", 2, null, null, "example"]','sample',1,4,1,NULL,NULL,NULL,0,2,NULL,NULL);
CREATE TABLE snapshot (
	id INTEGER NOT NULL, 
	run_id INTEGER NOT NULL, 
	vault_id INTEGER NOT NULL, 
	name VARCHAR NOT NULL, 
	sequence BIGINT NOT NULL, 
	mac VARCHAR(64) NOT NULL, 
	created_at DATETIME NOT NULL, 
	sources JSON NOT NULL, 
	entries INTEGER NOT NULL, 
	files INTEGER NOT NULL, 
	new INTEGER NOT NULL, 
	unchanged INTEGER NOT NULL, 
	skipped INTEGER NOT NULL, 
	marked INTEGER NOT NULL, 
	missed INTEGER NOT NULL, 
	gone INTEGER NOT NULL, 
	counts BOOLEAN NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	stored_bytes BIGINT NOT NULL, 
	CONSTRAINT pk_snapshot PRIMARY KEY (id), 
	CONSTRAINT uq_snapshot_run_id UNIQUE (run_id), 
	CONSTRAINT fk_snapshot_run_id_run FOREIGN KEY(run_id) REFERENCES run (id), 
	CONSTRAINT fk_snapshot_vault_id_vault FOREIGN KEY(vault_id) REFERENCES vault (id)
);
ANALYZE "sqlite_master";
INSERT INTO "sqlite_stat1" VALUES('sample','ix_sample_started_at','10 1');
INSERT INTO "sqlite_stat1" VALUES('sample','ix_sample_series','10 3 3 1');
INSERT INTO "sqlite_stat1" VALUES('sample','sqlite_autoindex_sample_1','10 10 1');
INSERT INTO "sqlite_stat1" VALUES('stage','sqlite_autoindex_stage_1','8 2 1');
INSERT INTO "sqlite_stat1" VALUES('summary','ix_summary_series','7 1 1');
INSERT INTO "sqlite_stat1" VALUES('summary','ix_summary_run_id','7 3');
INSERT INTO "sqlite_stat1" VALUES('summary','sqlite_autoindex_summary_1','7 1 1');
INSERT INTO "sqlite_stat1" VALUES('encryption','ix_encryption_suite_started_at','5 3 1');
INSERT INTO "sqlite_stat1" VALUES('encryption','ix_encryption_started_at','5 1');
INSERT INTO "sqlite_stat1" VALUES('encryption','ix_encryption_name_started_at','5 3 1');
INSERT INTO "sqlite_stat1" VALUES('encryption','ix_encryption_failed','1 1');
INSERT INTO "sqlite_stat1" VALUES('encryption','sqlite_autoindex_encryption_1','5 3 1');
CREATE TABLE stage (
	id INTEGER NOT NULL, 
	encryption_id INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	program VARCHAR NOT NULL, 
	exit_code INTEGER NOT NULL, 
	wall_ns BIGINT NOT NULL, 
	cpu_ns BIGINT NOT NULL, 
	CONSTRAINT pk_stage PRIMARY KEY (id), 
	CONSTRAINT uq_stage_encryption_id_position UNIQUE (encryption_id, position), 
	CONSTRAINT fk_stage_encryption_id_encryption FOREIGN KEY(encryption_id) REFERENCES encryption (id) ON DELETE CASCADE
);
INSERT INTO "stage" VALUES(1,1,0,'openssl enc',0,10113884,6975000);
INSERT INTO "stage" VALUES(2,1,1,'openssl dgst',0,11522524,5339000);
INSERT INTO "stage" VALUES(3,2,0,'openssl enc',0,8252998,6613000);
INSERT INTO "stage" VALUES(4,2,1,'openssl dgst',0,9810280,5302000);
INSERT INTO "stage" VALUES(5,3,0,'openssl enc',0,10174700,6496000);
INSERT INTO "stage" VALUES(6,3,1,'openssl dgst',0,10039292,5660000);
INSERT INTO "stage" VALUES(7,4,0,'openssl enc',0,10745999,6336000);
INSERT INTO "stage" VALUES(8,4,1,'openssl dgst',0,8350235,3969000);
CREATE TABLE summary (
	id INTEGER NOT NULL, 
	run_id INTEGER NOT NULL, 
	series_id INTEGER NOT NULL, 
	started_at DATETIME NOT NULL, 
	n INTEGER NOT NULL, 
	failed INTEGER NOT NULL, 
	noisy INTEGER NOT NULL, 
	size_bytes BIGINT, 
	lower_ns FLOAT, 
	median_ns FLOAT, 
	upper_ns FLOAT, 
	greatest_ns FLOAT, 
	mad_ns FLOAT, 
	lost_share FLOAT, 
	covariates JSON NOT NULL, 
	CONSTRAINT pk_summary PRIMARY KEY (id), 
	CONSTRAINT uq_summary_series_id_run_id UNIQUE (series_id, run_id), 
	CONSTRAINT fk_summary_series_id_series FOREIGN KEY(series_id) REFERENCES series (id)
);
INSERT INTO "summary" VALUES(1,1,1,'2026-11-22 19:37:04.908696',2,0,0,200,14111082.5,14126439.0,14141795.5,14157152.0,30713.0,NULL,'{"code": "0.1.0", "host": "000000000000", "limits": "2 CPUs", "kernel": "6.1", "cpus": null, "governor": null, "virtualisation": null, "container": null, "frequency": null, "stolen": null, "throttled": null, "backend": "OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19 27 Jan 2026) (/usr/bin/openssl)"}');
INSERT INTO "summary" VALUES(2,1,2,'2026-11-22 19:37:04.908696',2,0,0,200,15555598.25,15885022.5,16214446.75,16543871.0,658848.5,NULL,'{"code": "0.1.0", "host": "000000000000", "limits": "2 CPUs", "kernel": "6.1", "cpus": null, "governor": null, "virtualisation": null, "container": null, "frequency": null, "stolen": null, "throttled": null, "backend": "OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19 27 Jan 2026) (/usr/bin/openssl)"}');
INSERT INTO "summary" VALUES(3,2,3,'2026-11-22 19:37:06.186607',0,1,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{"code": "0.1.0", "host": "000000000000", "limits": "2 CPUs", "kernel": "6.1", "cpus": null, "governor": null, "virtualisation": null, "container": null, "frequency": null, "stolen": null, "throttled": null, "backend": "OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19 27 Jan 2026) (/usr/bin/openssl)"}');
INSERT INTO "summary" VALUES(4,3,4,'2026-11-22 19:37:07.589127',1,0,2,NULL,346929880.0,346929880.0,346929880.0,346929880.0,0.0,NULL,'{"code": "0.1.0", "host": "000000000000", "limits": "2 CPUs", "kernel": "6.1", "cpus": null, "governor": null, "virtualisation": null, "container": null, "frequency": null, "stolen": null, "throttled": null, "interpreter": "3.11.7", "workload": "e19b2af230b7"}');
INSERT INTO "summary" VALUES(5,3,5,'2026-11-22 19:37:07.589127',2,0,0,NULL,241080759.5,265148908.0,289217056.5,313285205.0,48136297.0,NULL,'{"code": "0.1.0", "host": "000000000000", "limits": "2 CPUs", "kernel": "6.1", "cpus": null, "governor": null, "virtualisation": null, "container": null, "frequency": null, "stolen": null, "throttled": null, "interpreter": "3.11.7", "workload": "e19b2af230b7"}');
INSERT INTO "summary" VALUES(6,3,6,'2026-11-22 19:37:07.589127',1,0,1,NULL,512194180.0,512194180.0,512194180.0,512194180.0,0.0,0.0,'{"code": "0.1.0", "host": "000000000000", "limits": "2 CPUs", "kernel": "6.1", "cpus": null, "governor": null, "virtualisation": null, "container": null, "frequency": null, "stolen": null, "throttled": null, "interpreter": "3.11.7", "workload": "e19b2af230b7"}');
INSERT INTO "summary" VALUES(7,3,7,'2026-11-22 19:37:07.589127',2,0,1,NULL,248295550.5,252764048.0,257232545.5,261701043.0,8936995.0,NULL,'{"code": "0.1.0", "host": "000000000000", "limits": "2 CPUs", "kernel": "6.1", "cpus": null, "governor": null, "virtualisation": null, "container": null, "frequency": null, "stolen": null, "throttled": null, "interpreter": "3.11.7", "workload": "e19b2af230b7"}');
CREATE TABLE vault (
	id INTEGER NOT NULL, 
	vault_id VARCHAR(32) NOT NULL, 
	path VARCHAR NOT NULL, 
	last_sequence BIGINT, 
	last_snapshot VARCHAR, 
	last_mac VARCHAR(64), 
	updated_at DATETIME NOT NULL, 
	CONSTRAINT pk_vault PRIMARY KEY (id), 
	CONSTRAINT uq_vault_vault_id UNIQUE (vault_id)
);
CREATE TABLE verdict (
	id INTEGER NOT NULL, 
	run_id INTEGER NOT NULL, 
	ordinal INTEGER NOT NULL, 
	vault_id INTEGER NOT NULL, 
	kind VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	status VARCHAR NOT NULL, 
	size_bytes BIGINT, 
	path VARCHAR, 
	path_bytes BLOB, 
	error VARCHAR, 
	checked_at DATETIME NOT NULL, 
	wall_ns BIGINT NOT NULL, 
	CONSTRAINT pk_verdict PRIMARY KEY (id), 
	CONSTRAINT uq_verdict_run_id_ordinal UNIQUE (run_id, ordinal), 
	CONSTRAINT fk_verdict_run_id_run FOREIGN KEY(run_id) REFERENCES run (id), 
	CONSTRAINT fk_verdict_vault_id_vault FOREIGN KEY(vault_id) REFERENCES vault (id)
);
CREATE INDEX ix_run_started_at ON run (started_at);
CREATE INDEX ix_run_status_started_at ON run (status, started_at);
CREATE INDEX ix_ledger_run_id ON ledger (run_id);
CREATE INDEX ix_snapshot_created_at ON snapshot (created_at);
CREATE INDEX ix_verdict_checked_at ON verdict (checked_at);
CREATE INDEX ix_verdict_fault ON verdict (checked_at) WHERE status IN ('changed', 'missing', 'foreign', 'unreadable', 'invalid', 'rolled-back', 'not-written');
CREATE INDEX ix_verdict_name ON verdict (vault_id, kind, name, checked_at, status);
CREATE INDEX ix_verdict_path ON verdict (path, checked_at) WHERE path IS NOT NULL;
CREATE INDEX ix_encryption_failed ON encryption (started_at) WHERE status IN ('failed', 'unstable', 'carried-over');
CREATE INDEX ix_encryption_name_started_at ON encryption (name, started_at);
CREATE INDEX ix_encryption_started_at ON encryption (started_at);
CREATE INDEX ix_encryption_suite_started_at ON encryption (suite, started_at);
CREATE INDEX ix_sample_failed ON sample (started_at) WHERE outcome IN ('wrong-output', 'broken', 'crashed', 'garbled', 'timed-out');
CREATE INDEX ix_sample_series ON sample (case_id, interpreter_id, started_at);
CREATE INDEX ix_sample_started_at ON sample (started_at);
CREATE INDEX ix_series_track ON series (track);
CREATE INDEX ix_summary_run_id ON summary (run_id);
CREATE INDEX ix_summary_series ON summary (series_id, started_at);
CREATE INDEX ix_day_summary_day ON day_summary (day);
COMMIT;
