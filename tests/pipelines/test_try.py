import time
from pathlib import Path
def test_tiny(run_route, picture, write_table, write_recipe, outcomes, tmp_path):
    rows=[{"uid":f"u{i}","image":picture(i),"caption":f"a red bird number {i} sings"} for i in range(60)]
    write_table(tmp_path/"in"/"t.parquet", rows)
    r=write_recipe(tmp_path,[{"name":"web","type":"table","path":"in"}],select={"extends":"align-2021"})
    for _ in range(3):
        t=time.process_time(); w0=time.time()
        w=run_route(r,tmp_path/f"w{_}")
        print("cpu",time.process_time()-t,"wall",time.time()-w0)
    print(outcomes(w)[0])
def test_demo(demo): pass
