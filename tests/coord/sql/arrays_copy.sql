-- Arrays and json through COPY.
CREATE TABLE ac (id int PRIMARY KEY, n int[], t text[], j jsonb);
COPY ac FROM STDIN;
1	{1,2,NULL}	{a,"b c","q\\"uote","back\\\\slash","tab\tin",NULL}	{"a": [1, 2]}
2	\N	{}	\N
3	[0:1]={7,8}	{{a,b},{c,d}}	"x\\ny"
\.
COPY ac FROM STDIN (FORMAT csv);
4,"{1,2}","{""x,y"",""d""""q"",""q\""r""}","{""k"": ""v""}"
5,,{},
\.
COPY ac FROM STDIN (FORMAT csv);
6,"{1,2}","{""x,y"",""q\""r""}","{""k"": ""v""}"
\.
SELECT * FROM ac ORDER BY id;
COPY ac (id, n) FROM STDIN;
7	{1,x}
\.
COPY ac (id, n) FROM STDIN;
7	{1
\.
COPY ac (id, j) FROM STDIN;
7	{"a"}
\.
COPY ac TO STDOUT;
COPY ac (n, t) TO STDOUT (FORMAT csv, HEADER);
SELECT count(*) FROM ac;
DROP TABLE ac;
