import sys; sys.path.insert(0,'.')
import importlib.util, pytest
def test_p(make_recipe, tmp_path):
    import time, jax, cProfile, pstats
    from trainer.train import train
    for i in range(2):
        pr=cProfile.Profile(); t=time.time(); c=time.process_time(); pr.enable()
        train(make_recipe(), tmp_path/str(i), devices=jax.devices()[:1]); pr.disable()
        print("RUN", time.time()-t, time.process_time()-c)
        pstats.Stats(pr).sort_stats("cumtime").print_stats(45)
